"""Embeddings apart from everything else, in blocks of many faces.

All embeddings are read before the first search, patches hardly ever, so they lie apart. A block is
one row: ids, a checksum for each face, embeddings, and a checksum over all of it. Reading compares
only the latter; where it does not fit, the others tell which face is damaged.

As in the face table all that says something about a face lies in overflow pages, which SQLite
zeroes when a block is written anew (see :mod:`.layout`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.gallery.stores.seal import SEAL_BYTES, checksum, damaged
from faceflow.gallery.stores.sqlite import layout

TABLE = (
    "CREATE TABLE embedding_block(first INTEGER PRIMARY KEY, opening BLOB NOT NULL,"
    " content BLOB NOT NULL, closing BLOB NOT NULL)"
)
"""``first`` is at most the id of the first face in the block, and larger than all ids before."""

FACES_PER_BLOCK = 64
# Blocks read by one statement.
_AT_ONCE = 16


class Rows(NamedTuple):
    """n faces: ids (n,) int64, checksums (n,) uint32 of id and embedding, embeddings (n, D)."""

    ids: Int64
    seals: np.ndarray[tuple[int], np.dtype[np.uint32]]
    matrix: Float32


class Blocks:
    """Reads and writes blocks of a gallery with embeddings of ``size`` numbers."""

    def __init__(self, size: int, usable: int) -> None:
        """``usable`` is the page size minus the bytes reserved at the end of each page."""
        self._size = size
        self._usable = usable

    def append(self, connection: sqlite3.Connection, ids: Sequence[int], matrix: Float32) -> None:
        """Add faces whose ids are larger than all so far."""
        self.append_rows(connection, rows_of(ids, matrix))

    def append_rows(self, connection: sqlite3.Connection, rows: Rows) -> None:
        """The same with checksums that were computed before."""
        last = connection.execute(
            "SELECT first, content FROM embedding_block ORDER BY first DESC LIMIT 1"
        ).fetchone()
        if last is not None:
            before = self._rows(*last)
            room = max(FACES_PER_BLOCK - len(before.ids), 0)
            if room and len(rows.ids):
                self._write(connection, last[0], _joined(before, _part(rows, slice(room))))
                rows = _part(rows, slice(room, None))
        for start in range(0, len(rows.ids), FACES_PER_BLOCK):
            block = _part(rows, slice(start, start + FACES_PER_BLOCK))
            self._write(connection, int(block.ids[0]), block)

    def remove(self, connection: sqlite3.Connection, ids: Iterable[int]) -> None:
        """Write the blocks of these faces anew, without them; other damage in them stays told."""
        for first, inside in self._located(connection, ids).items():
            rows = self._rows(first, self._content(connection, first))
            kept = _part(rows, np.flatnonzero(~np.isin(rows.ids, inside)))
            if len(kept.ids):
                self._write(connection, first, kept)
            else:
                connection.execute("DELETE FROM embedding_block WHERE first = ?", (first,))

    def after(self, connection: sqlite3.Connection, after: int) -> tuple[Int64, Float32] | None:
        """The next some ids > ``after`` and their embeddings, or None behind the last."""
        (start,) = connection.execute(
            "SELECT coalesce(max(first), 0) FROM embedding_block WHERE first <= ?", (after,)
        ).fetchone()
        while True:
            found = connection.execute(
                "SELECT first, content FROM embedding_block WHERE first >= ?"
                f" ORDER BY first LIMIT {_AT_ONCE}",
                (start,),
            ).fetchall()
            if not found:
                return None
            blocks = [self._checked(*row) for row in found]
            ids = np.concatenate([block.ids for block in blocks])
            if (np.diff(ids) <= 0).any() or any(
                block.ids[0] < row[0] for block, row in zip(blocks, found, strict=True)
            ):
                raise damaged("list of embeddings", ())
            matrix = np.concatenate([block.matrix for block in blocks])
            new = int(np.searchsorted(ids, after, side="right"))
            if new < len(ids):
                return ids[new:], matrix[new:]
            start = found[-1][0] + 1

    def of(self, connection: sqlite3.Connection, ids: Sequence[int]) -> Float32:
        """(k, D) in the order asked for; each face is there, as the face table says."""
        place = {face_id: at for at, face_id in enumerate(dict.fromkeys(ids))}
        found = np.empty((len(place), self._size), np.float32)
        for first, inside in self._located(connection, place).items():
            sealed = self._content(connection, first)
            rows = self._rows(first, sealed)
            at = np.minimum(np.searchsorted(rows.ids, inside), len(rows.ids) - 1)
            missing = np.flatnonzero(rows.ids[at] != inside)
            wrong = int(inside[missing[0]]) if len(missing) else None
            if wrong is None and not _whole(first, sealed):
                # Another face's damage does not matter here.
                wrong = _wrong(_part(rows, at))
            if wrong is not None:
                raise damaged("embedding", (wrong,))
            found[[place[i] for i in inside]] = rows.matrix[at]
        result: Float32 = found[[place[i] for i in ids]]
        return result

    def _located(self, connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, list[int]]:
        """The block that each face is in."""
        located: dict[int, list[int]] = {}
        for face_id in sorted(set(ids)):
            (first,) = connection.execute(
                "SELECT max(first) FROM embedding_block WHERE first <= ?", (face_id,)
            ).fetchone()
            if first is None:
                raise damaged("embedding", (face_id,))
            located.setdefault(first, []).append(face_id)
        return located

    def _content(self, connection: sqlite3.Connection, first: int) -> object:
        row = connection.execute("SELECT content FROM embedding_block WHERE first = ?", (first,))
        return row.fetchone()[0]

    def _write(self, connection: sqlite3.Connection, first: int, rows: Rows) -> None:
        content = (
            rows.ids.astype("<i8").tobytes()
            + rows.seals.astype("<u4").tobytes()
            + rows.matrix.astype("<f4").tobytes()
        )
        total = checksum("embeddings", (first,), content)
        if _wrong(rows) is not None:
            total ^= 1  # one that does not fit, so that reading goes on to find the damage
        sealed = content + total.to_bytes(SEAL_BYTES, "little")
        opening = bytes(layout.minimum_local(self._usable))
        closing = bytes(layout.closing_pad(len(opening) + len(sealed), self._usable))
        connection.execute(
            "INSERT OR REPLACE INTO embedding_block VALUES(?, ?, ?, ?)",
            (first, opening, sealed, closing),
        )

    def _checked(self, first: int, sealed: object) -> Rows:
        rows = self._rows(first, sealed)
        if not _whole(first, sealed):
            wrong = _wrong(rows)
            raise (
                damaged("list of embeddings", ())
                if wrong is None
                else damaged("embedding", (wrong,))
            )
        return rows

    def _rows(self, first: int, sealed: object) -> Rows:
        """A block's parts, whatever they hold."""
        each = 8 + SEAL_BYTES + 4 * self._size
        if not isinstance(sealed, bytes) or len(sealed) % each != SEAL_BYTES or len(sealed) < each:
            raise damaged("list of embeddings", ())
        # Looked at where they lie: cutting the bytes up first would copy all embeddings once more.
        n = len(sealed) // each
        return Rows(
            np.frombuffer(sealed, "<i8", n).astype(np.int64, copy=False),
            np.frombuffer(sealed, "<u4", n, n * 8).astype(np.uint32, copy=False),
            np.frombuffer(sealed, "<f4", n * self._size, n * (8 + SEAL_BYTES))
            .astype(np.float32, copy=False)
            .reshape(n, self._size),
        )


def _whole(first: int, sealed: object) -> bool:
    """Whether a block is what was written, all of it undamaged."""
    return isinstance(sealed, bytes) and checksum(
        "embeddings", (first,), memoryview(sealed)[:-SEAL_BYTES]
    ) == int.from_bytes(sealed[-SEAL_BYTES:], "little")


def rows_of(ids: Sequence[int], matrix: Float32) -> Rows:
    """Faces with their checksums."""
    seals = [_seal(face_id, vector) for face_id, vector in zip(ids, matrix, strict=True)]
    return Rows(np.array(ids, np.int64), np.array(seals, np.uint32), matrix)


def _seal(face_id: int, vector: Float32) -> int:
    return checksum("embedding", (int(face_id),), np.ascontiguousarray(vector, "<f4").tobytes())


def _wrong(rows: Rows) -> int | None:
    """The first face whose checksum does not fit."""
    for face_id, seal, vector in zip(rows.ids, rows.seals, rows.matrix, strict=True):
        if _seal(int(face_id), vector) != int(seal):
            return int(face_id)
    return None


def _part(rows: Rows, which: slice | Int64) -> Rows:
    return Rows(rows.ids[which], rows.seals[which], rows.matrix[which])


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(
        np.concatenate((first.ids, second.ids)),
        np.concatenate((first.seals, second.seals)),
        np.concatenate((first.matrix, second.matrix)),
    )
