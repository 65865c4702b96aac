"""One state of a gallery file: every read of it, on a connection and transaction of its own."""

from __future__ import annotations

import bisect
import contextlib
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
from faceflow.gallery.stores.rows import checked_name, unseal_record, unseal_setting
from faceflow.gallery.stores.seal import damaged, unseal
from faceflow.gallery.stores.sqlite import changes as sqlite_changes
from faceflow.gallery.stores.sqlite import lineage
from faceflow.gallery.stores.sqlite.blocks import Blocks
from faceflow.gallery.stores.sqlite.errors import RESTORE
from faceflow.gallery.stores.sqlite.session import Session
from faceflow.gallery.stores.store import Revision
from faceflow.gallery.stores.unknown import (
    LARGEST_ID,
    no_face,
    no_person_id,
    require_possible,
)

# Rows fetched at a time, and ids asked for in one statement.
_BLOCK = 512


class SqliteView:
    """See :class:`faceflow.gallery.stores.store.StoreView` for what each method promises."""

    def __init__(self, session: Session, header: GalleryHeader, blocks: Blocks) -> None:
        """A view through a session in whose read transaction all reads happen."""
        self.header = header
        self._blocks = blocks
        self.path = session.path
        self._session = session
        self._over = False
        self._owners: dict[int, tuple[Any, ...]] = {}
        with self._reading() as connection:
            last_face, _, removals = sqlite_changes.state(connection)
        self._revision = Revision(last_face, removals)

    def end(self) -> None:
        """Refuse all further reads: the session goes to another snapshot."""
        self._over = True

    def revision(self) -> Revision:
        """Read when the view was made."""
        return self._revision

    def removed_since(self, revision: Revision) -> Int64 | None:
        """Looked up in the list of the last removals."""
        return self._left_since(revision, there=False)

    def moved_since(self, revision: Revision) -> Int64 | None:
        """Looked up in the same list, where moves stand too."""
        return self._left_since(revision, there=True)

    def _left_since(self, revision: Revision, *, there: bool) -> Int64 | None:
        """Faces that left somebody since, of those that are still there, or are not any more."""
        wanted = self._revision.removals - revision.removals
        if wanted <= 0:
            return None if wanted else np.empty(0, np.int64)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT face_id, EXISTS(SELECT 1 FROM face f WHERE f.face_id = r.face_id)"
                " FROM removal r WHERE number > ?",
                (revision.removals,),
            ).fetchall()
        if len(rows) != wanted:
            return None
        return np.unique(np.array([row[0] for row in rows if row[1] == there], np.int64))

    def owners(self, *, after: int = 0, limit: int | None = None) -> tuple[Int64, Int64]:
        """Read off the rows of faces."""
        page = (min(max(after, 0), LARGEST_ID), -1 if limit is None else limit)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT face_id, person_id FROM face WHERE face_id > ? ORDER BY face_id LIMIT ?",
                page,
            ).fetchall()
        both = np.array(rows, np.int64).reshape(-1, 2)
        return both[:, 0].copy(), both[:, 1].copy()

    def owners_of(self, face_ids: Sequence[int]) -> Int64:
        """Read off the rows of these faces."""
        found = self._fetch("person_id", face_ids)
        return np.array([found[i][0] for i in face_ids], np.int64)

    def face_ids(self, *, after: int = 0, limit: int | None = None) -> Int64:
        """Read off the smallest index."""
        page = (min(max(after, 0), LARGEST_ID), -1 if limit is None else limit)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT face_id FROM face WHERE face_id > ? ORDER BY face_id LIMIT ?", page
            ).fetchall()
        return np.array([row[0] for row in rows], dtype=np.int64)

    def embeddings(self, after: int) -> Iterator[tuple[Int64, Float32]]:
        """Some blocks at a time, checksums compared; no statement stays open between them."""
        while True:
            with self._reading() as connection:
                found = self._blocks.after(connection, after)
            if found is None:
                return
            yield found[0], require_unit_length(*found)
            after = int(found[0][-1])

    def embeddings_of(self, face_ids: Sequence[int]) -> Float32:
        """Out of their blocks, checksums compared."""
        self._fetch("face_id", face_ids)
        with self._reading() as connection:
            found = self._blocks.of(connection, face_ids)
        return require_unit_length(face_ids, found)

    def payloads(self, face_ids: Sequence[int]) -> list[bytes]:
        """Patches, checksums compared."""
        # Whose the faces are is mostly asked next, and lies on the way to the patches.
        found = self._fetch("patches, person_id, record", face_ids)
        self._owners = {i: row[1:] for i, row in found.items()}
        return [unseal("patches", (i,), found[i][0]) for i in face_ids]

    def thumbnails(self, face_ids: Sequence[int]) -> list[bytes | None]:
        """JPEG bytes or None, checksums compared."""
        found = self._fetch("thumbnail", face_ids)
        return [
            None if found[i][0] is None else unseal("thumbnail", (i,), found[i][0])
            for i in face_ids
        ]

    def records(self, face_ids: Sequence[int]) -> list[FaceRecord]:
        """Records by id, checksums compared."""
        found = self._fetch("person_id, record", face_ids)
        named = self._named({row[0] for row in found.values()})
        return [
            unseal_record(i, *found[i], *named.get(found[i][0], (None, None))) for i in face_ids
        ]

    def names(self, face_ids: Sequence[int]) -> list[str]:
        """Names by id, checksums compared."""
        wanted = set(face_ids)
        if self._owners.keys() >= wanted:
            owners = {i: self._owners[i] for i in wanted}
        else:
            owners = self._fetch("person_id, record", face_ids)
        for face_id, (person_id, record) in owners.items():
            # The seal of the record says whose face it is.
            unseal("record", (face_id, person_id), record)
        named = self._named({row[0] for row in owners.values()})
        names = {i: checked_name(i, *row) for i, row in named.items()}
        for face_id in face_ids:
            if owners[face_id][0] not in names:
                raise damaged("list of people", ())
        return [names[owners[i][0]] for i in face_ids]

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
            return lineage.token(connection).hex()

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
                raise no_person_id(who)
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

    def count_people(self) -> int:
        """People."""
        with self._reading() as connection:
            return int(connection.execute("SELECT count(*) FROM person").fetchone()[0])

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
                self.payloads(block)
                self.thumbnails(block)
                for record in self.records(block):
                    key = (record.content_hash, owners[record.face_id])
                    if photos.pop(key, None) != record.face_id:
                        raise damaged("photo index", ())
            people = {person for (person,) in connection.execute("SELECT person_id FROM person")}
            named = {row[0] for row in connection.execute("SELECT person_id FROM person_name")}
            if photos or people != set(owners.values()) or people != named:
                raise damaged("index of people and photos", ())
            self._check_embeddings(ids)
            self.settings()

    def _check_embeddings(self, ids: list[int]) -> None:
        """There are embeddings of these faces and of no others."""
        found = [block for block, _ in self.embeddings(0)]
        if not np.array_equal(np.concatenate([np.empty(0, np.int64), *found]), ids):
            raise damaged("list of embeddings", ())

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._over:
            raise GalleryError(f"the snapshot of {self.path.name} is over", todo="make another")
        with self._session.reading() as connection:
            yield connection

    def _fetch(self, columns: str, face_ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        """Columns of each face by id; every id asked for is there."""
        wanted = sorted(set(face_ids))
        require_possible(wanted)
        found = self._by_id("face", "face_id", columns, wanted)
        for face_id in wanted:
            if face_id not in found:
                raise no_face(face_id)
        return found

    def _named(self, people: set[Any]) -> dict[int, tuple[Any, ...]]:
        """The name and its checksum of each of some people that there are."""
        wanted = sorted(i for i in people if isinstance(i, int))
        return self._by_id("person_name", "person_id", "name, seal", wanted)

    def _by_id(
        self, table: str, key: str, columns: str, wanted: Sequence[int]
    ) -> dict[int, tuple[Any, ...]]:
        """Columns of those rows of a table that are there."""
        found: dict[int, tuple[Any, ...]] = {}
        with self._reading() as connection:
            for start in range(0, len(wanted), _BLOCK):
                block = wanted[start : start + _BLOCK]
                marks = ",".join("?" * len(block))
                statement = f"SELECT {key}, {columns} FROM {table} WHERE {key} IN ({marks})"
                found.update((row[0], row[1:]) for row in connection.execute(statement, block))
        return found


def require_unit_length(ids: Sequence[int] | Int64, vectors: Float32) -> Float32:
    """The embeddings, if each has length 1.

    Search counts on it, and a crafted file may hold anything under a right checksum.
    """
    wrong = not_unit(vectors)
    if len(wrong):
        raise damaged("embedding", (int(ids[wrong[0]]),))
    return vectors
