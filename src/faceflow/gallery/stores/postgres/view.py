"""One state of a gallery in PostgreSQL: every read of it, in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.errors import GalleryError
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.person_names import by_name
from faceflow.gallery.records import FaceRecord, PersonInfo
from faceflow.gallery.search import not_unit
from faceflow.gallery.stores.location import ServerLocation
from faceflow.gallery.stores.postgres.connecting import Connection
from faceflow.gallery.stores.postgres.errors import translated
from faceflow.gallery.stores.rows import checked_name, unseal_record, unseal_setting
from faceflow.gallery.stores.seal import damaged, unseal
from faceflow.gallery.stores.store import Revision
from faceflow.gallery.stores.unknown import (
    LARGEST_ID,
    no_face,
    no_person,
    no_person_id,
    require_possible,
)

# Rows fetched at a time where all are wanted.
_BLOCK = 4096
_LARGEST_BLOCK_BYTES = 16 * 2**20
# Names that a misspelt one is compared with.
_SIMILAR = 10_000

Rows = list[tuple[Any, ...]]


class PostgresView:
    """See :class:`faceflow.gallery.stores.store.StoreView` for what each method promises."""

    def __init__(
        self, connection: Connection, header: GalleryHeader, location: ServerLocation
    ) -> None:
        """A view through a connection in a transaction that sees one state."""
        self._connection = connection
        self._header = header
        self._location = location
        self._over = False
        rows = self._rows("SELECT last_face_id, removals, token FROM state")
        if len(rows) != 1:
            raise damaged("state", ())
        last, removals, token = rows[0]
        self._revision = Revision(last, removals)
        self._token = bytes(token).hex()

    def end(self) -> None:
        """Refuse all further reads: the connection goes to another snapshot."""
        self._over = True

    def revision(self) -> Revision:
        """Read when the view was made."""
        return self._revision

    def token(self) -> str:
        """Drawn anew by every change; read when the view was made."""
        return self._token

    def removed_since(self, revision: Revision) -> Int64 | None:
        """Looked up in the list of the last removals."""
        return self._left_since(revision, there=False)

    def moved_since(self, revision: Revision) -> Int64 | None:
        """Looked up in the same list, where moves stand too."""
        return self._left_since(revision, there=True)

    def _left_since(self, revision: Revision, *, there: bool) -> Int64 | None:
        """Faces that left somebody since, of those that are still there, or are not any more."""
        wanted = self._revision.removals - revision.removals
        if wanted < 0:
            return None
        rows = self._rows(
            "SELECT face_id, EXISTS(SELECT FROM face f WHERE f.face_id = r.face_id)"
            " FROM removal r WHERE number > %s",
            revision.removals,
        )
        if len(rows) != wanted:
            return None
        return np.unique(_ids([row for row in rows if row[1] == there]))

    def owners(self, *, after: int = 0, limit: int | None = None) -> tuple[Int64, Int64]:
        """Read off the rows of faces."""
        rows = self._rows(
            "SELECT face_id, person_id FROM face WHERE face_id > %s ORDER BY face_id LIMIT %s",
            _possible(after),
            limit,
        )
        both = np.array(rows, np.int64).reshape(-1, 2)
        return both[:, 0].copy(), both[:, 1].copy()

    def owners_of(self, face_ids: Sequence[int]) -> Int64:
        """Read off the rows of these faces."""
        found = self._fetch("SELECT face_id, person_id FROM face WHERE face_id = ANY(%s)", face_ids)
        return np.array([found[i][0] for i in face_ids], np.int64)

    def face_ids(self, *, after: int = 0, limit: int | None = None) -> Int64:
        """Read off the primary key."""
        return _ids(
            self._rows(
                "SELECT face_id FROM face WHERE face_id > %s ORDER BY face_id LIMIT %s",
                _possible(after),
                limit,
            )
        )

    def embeddings(self, after: int) -> Iterator[tuple[Int64, Float32]]:
        """Some thousand at a time, checksums compared."""
        block = max(1, min(_BLOCK, _LARGEST_BLOCK_BYTES // (4 * self._header.embedding_size)))
        while True:
            rows = self._rows(
                "SELECT face_id, content FROM embedding WHERE face_id > %s"
                " ORDER BY face_id LIMIT %s",
                _possible(after),
                block,
            )
            if not rows:
                return
            ids = _ids(rows)
            yield ids, self._vectors(rows)
            after = int(ids[-1])

    def embeddings_of(self, face_ids: Sequence[int]) -> Float32:
        """Embeddings, checksums compared."""
        found = self._fetch(
            "SELECT f.face_id, content FROM face f LEFT JOIN embedding USING (face_id)"
            " WHERE f.face_id = ANY(%s)",
            face_ids,
        )
        return self._vectors([(i, *found[i]) for i in face_ids])

    def payloads(self, face_ids: Sequence[int]) -> list[bytes]:
        """Patches, checksums compared."""
        found = self._fetch(
            "SELECT f.face_id, patches FROM face f LEFT JOIN payload USING (face_id)"
            " WHERE f.face_id = ANY(%s)",
            face_ids,
        )
        return [unseal("patches", (i,), found[i][0]) for i in face_ids]

    def thumbnails(self, face_ids: Sequence[int]) -> list[bytes | None]:
        """JPEG bytes or None, checksums compared."""
        found = self._fetch(
            "SELECT f.face_id, thumbnail FROM face f LEFT JOIN payload USING (face_id)"
            " WHERE f.face_id = ANY(%s)",
            face_ids,
        )
        return [
            None if found[i][0] is None else unseal("thumbnail", (i,), found[i][0])
            for i in face_ids
        ]

    def records(self, face_ids: Sequence[int]) -> list[FaceRecord]:
        """Records by id, checksums compared."""
        found = self._with_names(face_ids)
        return [unseal_record(i, *found[i]) for i in face_ids]

    def names(self, face_ids: Sequence[int]) -> list[str]:
        """Names by id, checksums compared."""
        found = self._with_names(face_ids)
        for face_id, (person_id, record, _, _) in found.items():
            # The seal of the record says whose face it is.
            unseal("record", (face_id, person_id), record)
        return [checked_name(found[i][0], *found[i][2:]) for i in face_ids]

    def records_of(
        self, person: str | None, *, after: int = 0, limit: int | None = None
    ) -> list[FaceRecord]:
        """Records of one person or all, checksums compared."""
        page = (_possible(after), limit)
        if person is None:
            rows = self._rows(
                "SELECT face_id, f.person_id, record, name, seal FROM face f"
                " LEFT JOIN person USING (person_id)"
                " WHERE face_id > %s ORDER BY face_id LIMIT %s",
                *page,
            )
        else:
            rows = self._rows(
                "SELECT face_id, f.person_id, record, name, seal FROM face f"
                " LEFT JOIN person USING (person_id)"
                " WHERE f.person_id = %s AND face_id > %s ORDER BY face_id LIMIT %s",
                self._require(person),
                *page,
            )
        return [unseal_record(*row) for row in rows]

    def people_with(self, content_hash: str) -> list[str]:
        """A look into the index of photos."""
        rows = self._rows(
            "SELECT p.person_id, name, seal FROM photo p LEFT JOIN person USING (person_id)"
            " WHERE content_hash = %s",
            bytes.fromhex(content_hash),
        )
        return sorted(checked_name(*row) for row in rows)

    def people(self, *, after: str | None = None, limit: int | None = None) -> list[PersonInfo]:
        """By name without regard to case, then by name, from an index."""
        rows = self._rows(
            "SELECT p.person_id, name, seal,"
            " (SELECT count(*) FROM face f WHERE f.person_id = p.person_id)"
            " FROM person p WHERE (fold, name) > (%s, %s) ORDER BY fold, name LIMIT %s",
            *(("", "") if after is None else by_name(after)),
            limit,
        )
        return [_info(row) for row in rows]

    def person(self, who: str | int) -> PersonInfo:
        """A look into the list of people, checksum compared."""
        wanted = self._require(who) if isinstance(who, str) else who
        rows: Rows = []
        if 0 < wanted <= LARGEST_ID:
            rows = self._rows(
                "SELECT person_id, name, seal,"
                " (SELECT count(*) FROM face f WHERE f.person_id = p.person_id)"
                " FROM person p WHERE person_id = %s",
                wanted,
            )
        if not rows:
            raise no_person_id(wanted)
        return _info(rows[0])

    def count(self) -> int:
        """Faces."""
        return int(self._rows("SELECT count(*) FROM face")[0][0])

    def count_people(self) -> int:
        """People."""
        return int(self._rows("SELECT count(*) FROM person")[0][0])

    def settings(self) -> dict[str, Any]:
        """All settings, checksums compared."""
        rows = self._rows("SELECT name, content FROM setting ORDER BY name")
        try:
            named = [(bytes(name).decode(), content) for name, content in rows]
        except UnicodeDecodeError as error:
            raise damaged("list of settings", ()) from error
        return {name: unseal_setting(name, content) for name, content in named}

    def check(self) -> None:
        """Every checksum, and the tables against each other."""
        ids = self.face_ids()
        photos = {
            (bytes(content).hex(), person): face
            for content, person, face in self._rows(
                "SELECT content_hash, person_id, face_id FROM photo"
            )
        }
        owners: dict[int, int] = dict(self._rows("SELECT face_id, person_id FROM face"))
        for start in range(0, len(ids), 512):
            block = ids[start : start + 512].tolist()
            self.payloads(block)
            self.thumbnails(block)
            for record in self.records(block):
                key = (record.content_hash, owners[record.face_id])
                if photos.pop(key, None) != record.face_id:
                    raise damaged("photo index", ())
        found = [block for block, _ in self.embeddings(0)]
        if not np.array_equal(np.concatenate([np.empty(0, np.int64), *found]), ids):
            raise damaged("list of embeddings", ())
        if photos or self.count_people() != len(set(owners.values())):
            raise damaged("index of people and photos", ())
        for person_id, name, seal, fold in self._rows(
            "SELECT person_id, name, seal, fold FROM person"
        ):
            if fold != by_name(checked_name(person_id, name, seal))[0]:
                raise damaged("list of people", ())
        strays = self._rows(
            "SELECT count(*) FROM payload WHERE face_id NOT IN (SELECT face_id FROM face)"
        )
        if strays[0][0]:
            raise damaged("list of patches", ())
        self.settings()

    def _require(self, name: str) -> int:
        rows = self._rows("SELECT person_id FROM person WHERE name = %s", name)
        if rows:
            return int(rows[0][0])
        known = self._rows("SELECT name FROM person LIMIT %s", _SIMILAR)
        raise no_person(name, [str(row[0]) for row in known])

    def _with_names(self, face_ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        return self._fetch(
            "SELECT face_id, f.person_id, record, name, seal FROM face f"
            " LEFT JOIN person USING (person_id) WHERE face_id = ANY(%s)",
            face_ids,
        )

    def _fetch(self, statement: LiteralString, face_ids: Sequence[int]) -> dict[int, Any]:
        """The columns behind the id of each face by id; every id asked for is there."""
        wanted = sorted(set(face_ids))
        require_possible(wanted)
        found = {row[0]: row[1:] for row in self._rows(statement, wanted)}
        for face_id in wanted:
            if face_id not in found:
                raise no_face(face_id)
        return found

    def _vectors(self, rows: Sequence[tuple[Any, ...]]) -> Float32:
        """(len(rows), D) from ids and sealed embeddings."""
        size = self._header.embedding_size
        content = [unseal("embedding", (face_id,), sealed) for face_id, sealed in rows]
        for (face_id, _), vector in zip(rows, content, strict=True):
            if len(vector) != size * 4:
                raise damaged("embedding", (face_id,))
        flat = np.frombuffer(b"".join(content), "<f4").astype(np.float32)
        vectors: Float32 = flat.reshape(len(rows), size)
        wrong = not_unit(vectors)
        if len(wrong):
            raise damaged("embedding", (rows[wrong[0]][0],))
        return vectors

    def _rows(self, statement: LiteralString, *values: object) -> Rows:
        """All rows, as binary values."""
        with self._reading() as connection:
            return connection.execute(statement, values, binary=True).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        if self._over:
            raise GalleryError(
                f"the snapshot of {self._location.shown} is over", todo="make another"
            )
        with translated(self._location):
            yield self._connection


def _ids(rows: Rows) -> Int64:
    return np.array([row[0] for row in rows], np.int64)


def _possible(after: int) -> int:
    return min(max(after, 0), LARGEST_ID)


def _info(row: tuple[Any, ...]) -> PersonInfo:
    person_id, name, seal, faces = row
    if not faces:
        raise damaged("index of people and photos", ())
    return PersonInfo(checked_name(person_id, name, seal), faces, person_id)
