"""Equal-sized arrays on disk under keys: appended in whole batches, read memory-mapped.

``rows.bin`` holds the arrays one after the other and ``index.sqlite`` says which key lies where. A
batch counts once the index's transaction is through: what a killed process wrote before that is
written over by the next one. Several processes may add at once; they take turns.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow import analyzer, networks, occlusion
from faceflow.errors import FaceflowError
from faceflow.faces import alignment, detectors, images, landmarks
from faceflow.system.caches import new_key

_WAIT_SECONDS = 60
_log = logging.getLogger(__name__)

# What arrays are made by: another release with other code here does not read what this one kept.
_CODE = (alignment, analyzer, detectors, images, landmarks, networks, occlusion)


class ArrayCache:
    """Arrays of one type and shape by key.

    Args:
        folder: made when missing. Each identity, and each state of the code that makes arrays, has
            a folder in it.
        dtype: of one array's elements; may be structured.
        shape: of one array.
        identity: what the arrays are, e.g. the network's digest.

    Arrays that are damaged are reported and left out, to be made again.

    Raises:
        FaceflowError: the folder cannot be used.
    """

    def __init__(
        self, folder: Path, dtype: Any, shape: tuple[int, ...] = (), *, identity: str
    ) -> None:
        self.dtype, self.shape = np.dtype(dtype), shape
        key = new_key("arrays 2", *_CODE)
        key.update(f"{identity} {self.dtype.descr} {shape}".encode())
        self.folder = folder / str(key.hexdigest())[:24]
        self._size = self.dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._remove_damaged()
        with self._index() as index:
            index.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, row INTEGER)")
            count = self._count(index)
            content = self.folder / "rows.bin"
            if count and (not content.exists() or content.stat().st_size < count * self._size):
                _log.warning("The arrays in %s are damaged and made again", self.folder)
                index.execute("DELETE FROM rows")

    def rows(self) -> dict[str, int | None]:
        """Key -> row in :meth:`arrays`; None: it was tried, and there is no array."""
        with self._index() as index:
            return dict(index.execute("SELECT key, row FROM rows"))

    def add(self, batch: Sequence[tuple[str, NDArray[Any] | None]]) -> None:
        """Keep a batch, all of it or, when interrupted, none; known keys are passed over."""
        with self._index() as index:
            count = self._count(index)
            new: list[bytes] = []
            for key, array in batch:
                if index.execute("SELECT 1 FROM rows WHERE key = ?", (key,)).fetchone():
                    continue
                row = None
                if array is not None:
                    row = count + len(new)
                    new.append(np.ascontiguousarray(array, self.dtype).tobytes())
                    assert array.shape == self.shape
                index.execute("INSERT INTO rows VALUES (?, ?)", (key, row))
            if new:
                self._write(count * self._size, b"".join(new))

    def arrays(self) -> NDArray[Any]:
        """(rows, *shape) read-only, memory-mapped; rows added later are not in it."""
        with self._index() as index:
            count = self._count(index)
        if not count:
            return np.empty((0, *self.shape), self.dtype)
        try:
            return np.memmap(
                self.folder / "rows.bin", self.dtype, mode="r", shape=(count, *self.shape)
            )
        except (OSError, ValueError) as error:
            raise FaceflowError(
                f"The cache {self.folder} is damaged",
                why="its rows.bin is missing or too short",
                todo="delete the folder; it will be filled again",
            ) from error

    def _count(self, index: sqlite3.Connection) -> int:
        return int(index.execute("SELECT COALESCE(MAX(row) + 1, 0) FROM rows").fetchone()[0])

    def _remove_damaged(self) -> None:
        """Make room for a new index where this one is no database any more."""
        place = self.folder / "index.sqlite"
        if not place.exists():
            return
        try:
            with closing(sqlite3.connect(place, timeout=_WAIT_SECONDS)) as index:
                index.execute("SELECT name FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                _log.warning("The arrays in %s are damaged and made again", self.folder)
                place.unlink(missing_ok=True)

    def _write(self, offset: int, content: bytes) -> None:
        path = self.folder / "rows.bin"
        path.touch()
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """The index inside one transaction that keeps other processes out."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(
                    self.folder / "index.sqlite", timeout=_WAIT_SECONDS, isolation_level=None
                )
            ) as index:
                index.execute("BEGIN IMMEDIATE")
                try:
                    yield index
                except BaseException:
                    index.execute("ROLLBACK")
                    raise
                index.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise FaceflowError(
                f"The cache {self.folder} cannot be used",
                why=getattr(error, "strerror", None) or str(error),
                todo="name another folder, or delete this one",
            ) from error
