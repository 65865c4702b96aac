"""Faces in one SQLite file: the store behind every gallery on disk.

Rows are laid out by ``layout``, checksummed by :mod:`faceflow.gallery.stores.seal`, and changed
by ``changes``; opening and errors are in ``file``, transactions in ``session``.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from faceflow.errors import InputError
from faceflow.gallery.codec import codec
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.records import Change
from faceflow.gallery.stores.rows import seal_header, seal_record, unseal_header
from faceflow.gallery.stores.seal import seal
from faceflow.gallery.stores.sqlite import changes as sqlite_changes
from faceflow.gallery.stores.sqlite import file as sqlite_file
from faceflow.gallery.stores.sqlite import former, layout, paths
from faceflow.gallery.stores.sqlite.blocks import Blocks
from faceflow.gallery.stores.sqlite.errors import translated
from faceflow.gallery.stores.sqlite.former import open_view
from faceflow.gallery.stores.sqlite.session import Readers, Session
from faceflow.gallery.stores.sqlite.view import SqliteView
from faceflow.gallery.stores.store import Added, StoredFace
from faceflow.gallery.workplace import workplace

_LONGEST_WAIT = 86_400


class SqliteStore:
    """See :class:`faceflow.gallery.stores.store.Store` for what each method promises.

    May be used from several threads, not across a fork: one changes at a time, and each
    snapshot has a connection of its own.
    """

    def __init__(self, path: Path, *, readonly: bool = False, busy_seconds: float = 5.0) -> None:
        if not 0 <= busy_seconds <= _LONGEST_WAIT:
            raise InputError(
                f"busy_seconds is {busy_seconds}", why=f"0 to {_LONGEST_WAIT} are possible"
            )
        self.path = path = paths.real_path(path)
        self.location, self.name = str(path), path.name
        self._readers = Readers(path, busy_seconds=busy_seconds)
        self._writer = Session(path, readonly=readonly, busy_seconds=busy_seconds)
        try:
            with self._writer.reading() as connection:
                row = connection.execute("SELECT content FROM header").fetchone()
                self.header = unseal_header(row and row[0])
            self._usable = self._writer.usable_bytes()
            self._blocks = Blocks(self.header.embedding_size, self._usable)
            if not readonly:
                self._writer.upgrade(
                    lambda connection: former.fill(
                        connection, self._blocks, self.header.embedding_size
                    )
                )
            if not readonly and sqlite_file.log_exists(path):
                # A process killed after removing somebody may have left the old data there.
                self._writer.erase(wait=False)
        except BaseException:
            self._writer.close()
            raise

    @staticmethod
    def create(path: Path, header: GalleryHeader) -> None:
        """Make an empty gallery file; the path must not exist."""
        path = paths.new_path(path)
        sqlite_file.create_file(path, *_first_content(header))

    @classmethod
    @contextlib.contextmanager
    def making(cls, path: Path, header: GalleryHeader) -> Iterator[Self]:
        """A gallery in a hidden folder, which gets its name after the block."""
        path = paths.new_path(path)
        with translated(path), workplace(path) as place:
            partial = place.file("gallery")
            sqlite_file.build(partial, *_first_content(header))
            store = cls(partial)
            try:
                yield store
            finally:
                store.close()
            sqlite_file.publish(partial, path)

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether there is a file of that name."""
        with translated(path):
            return path.exists()

    # Changing

    def add(self, faces: Sequence[StoredFace]) -> list[Added]:
        """One transaction, synced to the disk."""
        with self._writer.writing() as connection:
            added = sqlite_changes.add(connection, faces, self._row, self._blocks)
        self._writer.erase_pending()
        return added

    def remove_faces(self, face_ids: Sequence[int]) -> Change:
        """One transaction; then the log is erased."""
        with self._writer.writing() as connection:
            removed = sqlite_changes.remove_faces(connection, face_ids, self._blocks)
        return Change(removed, erased=self._erase())

    def remove_person(self, person: str | int) -> Change:
        """One transaction; then the log is erased."""
        with self._writer.writing() as connection:
            person_id = sqlite_changes.require(connection, person)
            removed = sqlite_changes.remove_person(connection, person_id, self._blocks)
        return Change(removed, erased=self._erase())

    def rename(self, old: str | int, new: str) -> Change:
        """One transaction; then the log is erased."""
        with self._writer.writing() as connection:
            person_id = sqlite_changes.require(connection, old)
            faces = sqlite_changes.rename(connection, person_id, new)
        return Change(faces, erased=self._erase())

    def merge(self, source: str | int, target: str | int) -> Change:
        """One transaction; then the log is erased."""
        with self._writer.writing() as connection:
            old = sqlite_changes.require(connection, source)
            new = sqlite_changes.require(connection, target)
            moved, dropped = sqlite_changes.merge(connection, old, new, self._blocks)
        return Change(moved, dropped, self._erase())

    def move_faces(self, face_ids: Sequence[int], person: str) -> Change:
        """One transaction; then the log is erased."""
        with self._writer.writing() as connection:
            moved, dropped = sqlite_changes.move_faces(connection, face_ids, person, self._blocks)
        return Change(moved, dropped, self._erase())

    def update_settings(self, values: Mapping[str, Any]) -> None:
        """One transaction."""
        with self._writer.writing() as connection:
            for name, value in values.items():
                connection.execute("DELETE FROM setting WHERE name = ?", (name,))
                if value is not None:
                    content = json.dumps(value, allow_nan=False).encode()
                    connection.execute(
                        "INSERT INTO setting VALUES(?, ?)",
                        (name, seal(f"setting {name}", (), content)),
                    )

    def _erase(self) -> bool:
        # A thread that waited for its own snapshot would wait in vain.
        return self._writer.erase(wait=threading.get_ident() not in self._readers.users)

    def _row(self, face_id: int, person_id: int, face: StoredFace) -> tuple[Any, ...]:
        blobs = (
            bytes(layout.minimum_local(self._usable)),
            seal_record(face.record, face_id, person_id),
            b"",  # its embedding lies in a block
            seal("patches", (face_id,), face.payload),
            None if face.thumbnail is None else seal("thumbnail", (face_id,), face.thumbnail),
        )
        size = sum(len(blob) for blob in blobs if blob is not None)
        return face_id, person_id, *blobs, bytes(layout.closing_pad(size, self._usable))

    # Reading

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[SqliteView]:
        """A read transaction on a connection of its own."""
        self._readers.require_open()
        self._writer.require_in_place()
        with self._readers.session() as session:
            view = open_view(session, self.header, self._blocks)
            try:
                yield view
            finally:
                view.end()
        if not self._readers.users:
            # What these snapshots kept from being erased.
            self._writer.erase_pending()

    def size_bytes(self) -> int:
        """Bytes of the file and its log."""
        return sqlite_file.total_bytes(self.path)

    def close(self) -> None:
        """The last process to close leaves the one file and nothing beside it."""
        self._readers.close()
        self._writer.close()


def _first_content(header: GalleryHeader) -> tuple[int, Callable[[sqlite3.Connection], None]]:
    """Page size, and what writes the first rows."""
    payload = codec(header.codec, header.grid, header.channels).payload_size

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO header VALUES(1, ?)", (seal_header(header),))
        connection.execute("INSERT INTO state VALUES(1, 0, 0, 0)")

    return layout.page_size(header.embedding_size * 4 + payload), fill
