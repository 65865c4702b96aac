"""One state of a gallery file: every read of it, on a connection and transaction of its own."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.errors import GalleryError
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.person_names import by_name
from faceflow.gallery.records import FaceRecord, PersonInfo
from faceflow.gallery.search import not_unit
from faceflow.gallery.stores.seal import damaged, unseal
from faceflow.gallery.stores.sqlite import changes as sqlite_changes
from faceflow.gallery.stores.sqlite import lineage, schema
from faceflow.gallery.stores.sqlite.errors import RESTORE
from faceflow.gallery.stores.sqlite.rows import checked_name, unseal_record, unseal_setting
from faceflow.gallery.stores.sqlite.session import Session
from faceflow.gallery.stores.store import Revision, Vectors

# Rows fetched at a time, and ids asked for in one statement.
_BLOCK = 512
LARGEST_ID = 2**63 - 1


class SqliteView:
    """See :class:`faceflow.gallery.stores.store.StoreView` for what each method promises."""

    def __init__(self, session: Session, header: GalleryHeader) -> None:
        """A view through a session in whose read transaction all reads happen."""
        self.header = header
        self.path = session.path
        self._session = session
        self._over = False
        with self._reading() as connection:
            last_face, _, removals = sqlite_changes.state(connection)
        self._revision = Revision(last_face, removals)

    def end(self) -> None:
        """Refuse all further reads: the session goes to another snapshot."""
        self._over = True

    def revision(self) -> Revision:
        """Read when the view was made."""
        return self._revision

    def face_ids(self) -> Int64:
        """All ids, ascending."""
        with self._reading() as connection:
            rows = connection.execute("SELECT face_id FROM face ORDER BY face_id").fetchall()
        return np.array([row[0] for row in rows], dtype=np.int64)

    def embeddings(self, after: int) -> Iterator[tuple[Int64, Float32]]:
        """Blocks of 512 faces; no statement stays open between them."""
        statement = (
            f"SELECT face_id, embedding FROM face WHERE face_id > ? ORDER BY face_id LIMIT {_BLOCK}"
        )
        while True:
            with self._reading() as connection:
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
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT p.person_id, name, seal FROM photo p"
                " LEFT JOIN person_name n ON n.person_id = p.person_id WHERE content_hash = ?",
                (bytes.fromhex(content_hash),),
            ).fetchall()
        return sorted(checked_name(*row) for row in rows)

    def token(self) -> str:
        """Drawn anew by every change."""
        with self._reading() as connection:
            if schema.version(connection) > 1:
                return lineage.token(connection).hex()
            # Of a former format, opened for reading: all that changes without a change of size.
            digest = hashlib.sha256(repr(self._revision).encode())
            for statement in (
                "SELECT * FROM person_name ORDER BY person_id",
                "SELECT * FROM setting ORDER BY name",
                "SELECT face_id, person_id FROM face INDEXED BY face_of_person ORDER BY person_id",
            ):
                for row in connection.execute(statement):
                    digest.update(repr(row).encode())
            return digest.hexdigest()[:32]

    def records_of(
        self, person: str | None, *, after: int = 0, limit: int | None = None
    ) -> list[FaceRecord]:
        """Records of one person or all, checksums compared."""
        page = (min(max(after, 0), LARGEST_ID), -1 if limit is None else limit)
        statement = (
            "SELECT face_id, f.person_id, record, name, seal FROM face f"
            " LEFT JOIN person_name n ON n.person_id = f.person_id"
        )
        with self._reading() as connection:
            if person is None:
                statement += " WHERE face_id > ? ORDER BY face_id LIMIT ?"
                rows = connection.execute(statement, page).fetchall()
            else:
                one = sqlite_changes.require(connection, person)
                statement += " WHERE f.person_id = ? AND face_id > ? ORDER BY face_id LIMIT ?"
                rows = connection.execute(statement, (one, *page)).fetchall()
        return [unseal_record(*row) for row in rows]

    def people(self, *, after: str | None = None, limit: int | None = None) -> list[PersonInfo]:
        """By name without regard to case; of those on the page alone the faces are counted."""
        with self._reading() as connection:
            rows = connection.execute("SELECT person_id, name, seal FROM person_name").fetchall()
            named = [(checked_name(*row), row[0]) for row in rows]
            named.sort(key=lambda row: by_name(row[0]))
            if after is not None:
                first = bisect.bisect_right(named, by_name(after), key=lambda row: by_name(row[0]))
                named = named[first:]
            return self._counted(connection, named[:limit])

    def person(self, who: str | int) -> PersonInfo:
        """A look into the list of people, checksum compared."""
        with self._reading() as connection:
            if isinstance(who, str):
                found = (who, sqlite_changes.require(connection, who))
                return self._counted(connection, [found])[0]
            row = None
            if 0 < who <= LARGEST_ID:
                row = connection.execute(
                    "SELECT person_id, name, seal FROM person_name WHERE person_id = ?", (who,)
                ).fetchone()
            if row is None:
                raise sqlite_changes.no_person(who)
            return self._counted(connection, [(checked_name(*row), who)])[0]

    @staticmethod
    def _counted(
        connection: sqlite3.Connection, named: Sequence[tuple[str, int]]
    ) -> list[PersonInfo]:
        """People by name and id, with their faces counted."""
        faces: dict[int, int] = {}
        for start in range(0, len(named), _BLOCK):
            block = [person_id for _, person_id in named[start : start + _BLOCK]]
            marks = ",".join("?" * len(block))
            faces.update(
                connection.execute(
                    "SELECT person_id, count(*) FROM face"
                    f" WHERE person_id IN ({marks}) GROUP BY person_id",
                    block,
                )
            )
        if len(faces) != len(named):
            raise damaged("index of people and photos", ())
        return [PersonInfo(name, faces[person_id], person_id) for name, person_id in named]

    def count(self) -> int:
        """Faces."""
        with self._reading() as connection:
            return int(connection.execute("SELECT count(person_id) FROM face").fetchone()[0])

    def settings(self) -> dict[str, Any]:
        """All settings, checksums compared."""
        with self._reading() as connection:
            rows = connection.execute("SELECT name, content FROM setting ORDER BY name").fetchall()
        return {name: unseal_setting(name, value) for name, value in rows}

    def check(self) -> None:
        """SQLite's own check, every checksum, and the tables against each other."""
        with self._reading() as connection:
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if connection.execute("PRAGMA foreign_key_check").fetchone():
                verdict = "a face belongs to nobody"
            if verdict != "ok":
                raise GalleryError(f"{self.path} is damaged", why=verdict, todo=RESTORE)
            photos = {
                (content.hex() if isinstance(content, bytes) else content, person): face
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

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._over:
            raise GalleryError(f"the snapshot of {self.path.name} is over", todo="make another")
        with self._session.reading() as connection:
            yield connection

    def _fetch(self, columns: str, face_ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        """Columns of each face by id; every id asked for is there."""
        wanted = sorted(set(face_ids))
        sqlite_changes.require_possible(wanted)
        found: dict[int, tuple[Any, ...]] = {}
        with self._reading() as connection:
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
        vectors: Float32 = flat.reshape(len(rows), size)
        # Search counts on it, and a crafted file may hold anything under a right checksum.
        wrong = not_unit(vectors)
        if len(wrong):
            raise damaged("embedding", (rows[wrong[0]][0],))
        return vectors
