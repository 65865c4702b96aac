"""Faces in one SQLite file: the store behind every gallery on disk.

Rows are laid out by :mod:`faceflow.gallery.layout`, checksummed by
:mod:`faceflow.gallery.seal`, and changed by :mod:`faceflow.gallery.sqlite_changes`; opening
and errors are in :mod:`faceflow.gallery.sqlite_file`, transactions in
:mod:`faceflow.gallery.session`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.errors import GalleryError
from faceflow.gallery import layout, sqlite_changes, sqlite_file
from faceflow.gallery.codec import codec
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.records import Change, FaceRecord, PersonInfo
from faceflow.gallery.rows import (
    checked_name,
    seal_header,
    seal_record,
    unseal_header,
    unseal_record,
)
from faceflow.gallery.seal import damaged, seal, unseal
from faceflow.gallery.session import Session
from faceflow.gallery.store import Added, Revision, StoredFace, Vectors

# Rows fetched at a time, and ids asked for in one statement.
_BLOCK = 512


class SqliteStore:
    """See :class:`faceflow.gallery.store.Store` for what each method promises.

    May be used from several threads (one works at a time), not across a fork.
    """

    def __init__(self, path: Path, *, readonly: bool = False, busy_seconds: float = 5.0) -> None:
        self.path = path
        self._revision: tuple[int, Revision] | None = None
        self._session = Session(path, readonly=readonly, busy_seconds=busy_seconds)
        try:
            with self._session.reading() as connection:
                row = connection.execute("SELECT content FROM header").fetchone()
                self.header = unseal_header(row and row[0])
                self._usable = sqlite_file.usable_bytes(path)
            if not readonly and sqlite_file.log_exists(path):
                # A process killed after removing somebody may have left the old data there.
                self._session.erase(wait=False)
        except BaseException:
            self._session.close()
            raise

    @staticmethod
    def create(path: Path, header: GalleryHeader) -> None:
        """Make an empty gallery file; the path must not exist."""
        payload = codec(header.codec, header.grid, header.channels).payload_size
        size = layout.page_size(header.embedding_size * 4 + payload)

        def fill(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO header VALUES(1, ?)", (seal_header(header),))
            connection.execute("INSERT INTO state VALUES(1, 0, 0, 0)")

        sqlite_file.create_file(path, size, fill)

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether there is a file of that name."""
        with sqlite_file.translated(path):
            return path.exists()

    # Changing

    def add(self, faces: Sequence[StoredFace]) -> list[Added]:
        """One transaction, synced to the disk."""
        with self._session.writing() as connection:
            self._revision = None
            added = sqlite_changes.add(connection, faces, self._row)
        self._session.erase_pending()
        return added

    def remove_faces(self, face_ids: Sequence[int]) -> Change:
        """One transaction; then the log is erased."""
        with self._session.writing() as connection:
            self._revision = None
            removed = sqlite_changes.remove_faces(connection, face_ids)
        return Change(removed, erased=self._session.erase())

    def remove_person(self, person: str) -> Change:
        """One transaction; then the log is erased."""
        with self._session.writing() as connection:
            self._revision = None
            person_id = sqlite_changes.require(connection, person)
            removed = sqlite_changes.remove_person(connection, person_id)
        return Change(removed, erased=self._session.erase())

    def rename(self, old: str, new: str) -> Change:
        """One transaction; then the log is erased."""
        with self._session.writing() as connection:
            person_id = sqlite_changes.require(connection, old)
            faces = sqlite_changes.rename(connection, person_id, new)
        return Change(faces, erased=self._session.erase())

    def merge(self, source: str, target: str) -> Change:
        """One transaction; then the log is erased."""
        with self._session.writing() as connection:
            self._revision = None
            old = sqlite_changes.require(connection, source)
            new = sqlite_changes.require(connection, target)
            moved, dropped = sqlite_changes.merge(connection, old, new)
        return Change(moved, dropped, self._session.erase())

    def update_settings(self, values: Mapping[str, Any]) -> None:
        """One transaction."""
        with self._session.writing() as connection:
            for name, value in values.items():
                connection.execute("DELETE FROM setting WHERE name = ?", (name,))
                if value is not None:
                    content = json.dumps(value, allow_nan=False).encode()
                    connection.execute(
                        "INSERT INTO setting VALUES(?, ?)",
                        (name, seal(f"setting {name}", (), content)),
                    )

    def _row(self, face_id: int, person_id: int, face: StoredFace) -> tuple[Any, ...]:
        vector = np.ascontiguousarray(face.embedding, dtype="<f4").tobytes()
        blobs = (
            bytes(layout.minimum_local(self._usable)),
            seal_record(face.record, face_id, person_id),
            seal("embedding", (face_id,), vector),
            seal("patches", (face_id,), face.payload),
            None if face.thumbnail is None else seal("thumbnail", (face_id,), face.thumbnail),
        )
        size = sum(len(blob) for blob in blobs if blob is not None)
        return face_id, person_id, *blobs, bytes(layout.closing_pad(size, self._usable))

    # Reading

    def revision(self) -> Revision:
        """A look at ``PRAGMA data_version``, and a read only when it changed."""
        with self._session.reading() as connection:
            self._session.require_unchanged()
            # Changes when another connection commits; our own commits forget the cached row.
            version = int(connection.execute("PRAGMA data_version").fetchone()[0])
            if self._revision is None or self._revision[0] != version:
                row = connection.execute("SELECT last_face_id, removals FROM state").fetchone()
                self._revision = version, Revision(*row)
            return self._revision[1]

    def face_ids(self) -> Int64:
        """All ids, ascending."""
        with self._session.reading() as connection:
            rows = connection.execute("SELECT face_id FROM face ORDER BY face_id").fetchall()
        return np.array([row[0] for row in rows], dtype=np.int64)

    def embeddings(self, after: int) -> Iterator[tuple[Int64, Float32]]:
        """Blocks of 512 faces; no statement stays open between them."""
        statement = (
            f"SELECT face_id, embedding FROM face WHERE face_id > ? ORDER BY face_id LIMIT {_BLOCK}"
        )
        while True:
            with self._session.reading() as connection:
                rows = connection.execute(statement, (after,)).fetchall()
            if not rows:
                return
            ids = np.array([row[0] for row in rows], dtype=np.int64)
            yield ids, self._embedding(rows)
            after = int(ids[-1])

    def vectors(self, face_ids: Sequence[int]) -> Vectors:
        """Embeddings and payloads, checksums compared."""
        found = self._fetch("embedding, patches", face_ids)
        return Vectors(
            self._embedding([(i, found[i][0]) for i in face_ids]),
            [unseal("patches", (i,), found[i][1]) for i in face_ids],
        )

    def thumbnails(self, face_ids: Sequence[int]) -> list[bytes | None]:
        """JPEG bytes or None, checksums compared."""
        found = self._fetch("thumbnail", face_ids)
        return [
            None if found[i][0] is None else unseal("thumbnail", (i,), found[i][0])
            for i in face_ids
        ]

    def records(self, face_ids: Sequence[int]) -> list[FaceRecord]:
        """Records by id, checksums compared."""
        found = self._fetch("f.person_id, record, name, seal", face_ids)
        return [unseal_record(i, *found[i]) for i in face_ids]

    def names(self, face_ids: Sequence[int]) -> list[str]:
        """Names by id, checksums compared."""
        found = self._fetch("f.person_id, record, name, seal", face_ids)
        for face_id, (person_id, record, _, _) in found.items():
            # The seal of the record says whose face it is.
            unseal("record", (face_id, person_id), record)
        return [checked_name(found[i][0], *found[i][2:]) for i in face_ids]

    def people_with(self, content_hash: str) -> list[str]:
        """A look into the index of photos."""
        with self._session.reading() as connection:
            rows = connection.execute(
                "SELECT p.person_id, name, seal FROM photo p"
                " LEFT JOIN person_name n ON n.person_id = p.person_id WHERE content_hash = ?",
                (bytes.fromhex(content_hash),),
            ).fetchall()
        return sorted(checked_name(*row) for row in rows)

    def records_of(self, person: str | None) -> list[FaceRecord]:
        """Records of one person or all, checksums compared."""
        statement = (
            "SELECT face_id, f.person_id, record, name, seal FROM face f"
            " LEFT JOIN person_name n ON n.person_id = f.person_id"
        )
        with self._session.reading() as connection:
            if person is None:
                rows = connection.execute(f"{statement} ORDER BY face_id").fetchall()
            else:
                one = (sqlite_changes.require(connection, person),)
                statement += " WHERE f.person_id = ? ORDER BY face_id"
                rows = connection.execute(statement, one).fetchall()
        return [unseal_record(*row) for row in rows]

    def people(self) -> list[PersonInfo]:
        """Everyone, by name without regard to case."""
        with self._session.reading() as connection:
            rows = connection.execute(
                "SELECT f.person_id, name, seal, faces FROM"
                " (SELECT person_id, count(*) AS faces FROM face GROUP BY person_id) f"
                " LEFT JOIN person_name n ON n.person_id = f.person_id"
            ).fetchall()
        found = [PersonInfo(checked_name(i, name, s), faces) for i, name, s, faces in rows]
        return sorted(found, key=lambda person: (person.name.casefold(), person.name))

    def count(self) -> int:
        """Faces."""
        with self._session.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM face").fetchone()[0])

    def settings(self) -> dict[str, Any]:
        """All settings, checksums compared."""
        with self._session.reading() as connection:
            rows = connection.execute("SELECT name, content FROM setting ORDER BY name").fetchall()
        return {name: json.loads(unseal(f"setting {name}", (), value)) for name, value in rows}

    def size_bytes(self) -> int:
        """Bytes of the file and its log."""
        return sqlite_file.total_bytes(self.path)

    def snapshot(self) -> AbstractContextManager[None]:
        """A read transaction."""
        return self._session.snapshot()

    def check(self) -> None:
        """SQLite's own check, every checksum, and the tables against each other."""
        with self.snapshot(), self._session.reading() as connection:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok" or connection.execute("PRAGMA foreign_key_check").fetchone():
                raise GalleryError(
                    f"{self.path} is damaged", why=str(verdict), todo=sqlite_file.RESTORE
                )
            photos = {
                (content.hex(), person): face
                for content, person, face in connection.execute("SELECT * FROM photo")
            }
            owners = dict(connection.execute("SELECT face_id, person_id FROM face"))
            ids = sorted(owners)
            for start in range(0, len(ids), _BLOCK):
                block = ids[start : start + _BLOCK]
                self.vectors(block)
                self.thumbnails(block)
                for record in self.records(block):
                    key = (record.content_hash, owners[record.face_id])
                    if photos.pop(key, None) != record.face_id:
                        raise damaged("photo index", ())
            people = {person for (person,) in connection.execute("SELECT person_id FROM person")}
            named = {row[0] for row in connection.execute("SELECT person_id FROM person_name")}
            if photos or people != set(owners.values()) or people != named:
                raise damaged("index of people and photos", ())
            self.settings()

    def close(self) -> None:
        """The last process to close leaves the one file and nothing beside it."""
        self._session.close()

    def _fetch(self, columns: str, face_ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        """Columns of each face by id; every id asked for is there."""
        wanted = sorted(set(face_ids))
        found: dict[int, tuple[Any, ...]] = {}
        with self._session.reading() as connection:
            for start in range(0, len(wanted), _BLOCK):
                block = wanted[start : start + _BLOCK]
                marks = ",".join("?" * len(block))
                statement = (
                    f"SELECT face_id, {columns} FROM face f LEFT JOIN person_name n"
                    f" ON n.person_id = f.person_id WHERE face_id IN ({marks})"
                )
                found.update((row[0], row[1:]) for row in connection.execute(statement, block))
        for face_id in wanted:
            if face_id not in found:
                raise sqlite_changes.no_face(face_id)
        return found

    def _embedding(self, rows: Sequence[tuple[int, Any]]) -> Float32:
        """(len(rows), D) from ids and sealed embeddings."""
        size = self.header.embedding_size
        content = [unseal("embedding", (face_id,), sealed) for face_id, sealed in rows]
        for (face_id, _), vector in zip(rows, content, strict=True):
            if len(vector) != size * 4:
                raise damaged("embedding", (face_id,))
        flat = np.frombuffer(b"".join(content), dtype="<f4").astype(np.float32)
        return flat.reshape(len(rows), size)
