"""What a gallery asks of the place where faces are kept.

:class:`faceflow.gallery.gallery.Gallery` encodes, checks and searches; a store only keeps
rows: in a file (:mod:`faceflow.gallery.stores.sqlite`) or in PostgreSQL
(:mod:`faceflow.gallery.stores.postgres`). One suite of tests holds every store to the promises
below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from faceflow.arrays import Float32, Int64
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.records import Change, FaceRecord, PersonInfo


@dataclass(frozen=True, slots=True, eq=False)
class StoredFace:
    """One face as a store takes it and gives it back.

    Attributes:
        record: ``face_id`` 0 asks the store for the next id; any other id is kept and must
            be larger than every id so far (import does that).
        embedding: (D,) float32.
        payload: the patch codec's bytes.
        thumbnail: JPEG bytes or None.
    """

    record: FaceRecord
    embedding: Float32
    payload: bytes
    thumbnail: bytes | None


class Added(NamedTuple):
    """What became of one face: its id, or None for a duplicate; who else has the photo, by name."""

    face_id: int | None
    others: tuple[str, ...]


class Revision(NamedTuple):
    """Tells a reader what changed: the largest id ever given, and how many faces left somebody.

    Both only grow. A face leaves its person when it is removed and when it is given to another.
    """

    last_face_id: int
    removals: int


class StoreView(Protocol):
    """One state of a store: all reads answer as the store was when the view was made.

    Used by one thread at a time. Damage is noticed when it is read and raised as GalleryError,
    never returned as data.
    """

    def revision(self) -> Revision:
        """Which faces there are, in two numbers; costs nothing."""

    def removed_since(self, revision: Revision) -> Int64 | None:
        """(m,) ids removed since a former revision of this store, ascending.

        None where that is not known (any more): ask for all ids then. Ids given after that
        revision may be among them.
        """

    def moved_since(self, revision: Revision) -> Int64 | None:
        """(m,) ids that others have now than at a former revision, ascending; else likewise."""

    def owners(self, *, after: int = 0, limit: int | None = None) -> tuple[Int64, Int64]:
        """Ids (n,) of faces ascending, the first with an id > after, and whose (n,) they are.

        People by :attr:`faceflow.gallery.records.PersonInfo.person_id`.
        """

    def owners_of(self, face_ids: Sequence[int]) -> Int64:
        """(k,) ids of the people in the order asked for. Unknown face: GalleryError."""

    def face_ids(self, *, after: int = 0, limit: int | None = None) -> Int64:
        """(n,) ids of faces, ascending: the first with an id > after."""

    def embeddings(self, after: int) -> Iterator[tuple[Int64, Float32]]:
        """Blocks of ids (m,) ascending and embeddings (m, D) of faces with an id > after."""

    def embeddings_of(self, face_ids: Sequence[int]) -> Float32:
        """(k, D) in the order asked for; an id may come twice. Unknown id: GalleryError."""

    def payloads(self, face_ids: Sequence[int]) -> list[bytes]:
        """Patches of k faces in the order asked for; an id may come twice.

        Unknown id: GalleryError.
        """

    def records(self, face_ids: Sequence[int]) -> list[FaceRecord]:
        """Records in the order asked for. Unknown id: GalleryError."""

    def token(self) -> str:
        """Hex digits that change with every change of whatever kind."""

    def records_of(
        self, person: str | None, *, after: int = 0, limit: int | None = None
    ) -> list[FaceRecord]:
        """Records of one person, or of all, by id: the first with an id > after.

        Unknown person: GalleryError.
        """

    def names(self, face_ids: Sequence[int]) -> list[str]:
        """Whose faces these are, in the order asked for. Unknown id: GalleryError."""

    def people_with(self, content_hash: str) -> list[str]:
        """Names of those who have this photo, sorted."""

    def thumbnails(self, face_ids: Sequence[int]) -> list[bytes | None]:
        """Thumbnails in the order asked for. Unknown id: GalleryError."""

    def people(self, *, after: str | None = None, limit: int | None = None) -> list[PersonInfo]:
        """People by name without regard to case, then by name: the first behind ``after``."""

    def person(self, who: str | int) -> PersonInfo:
        """The person of that name or id. Unknown: GalleryError."""

    def count(self) -> int:
        """Faces."""

    def count_people(self) -> int:
        """People."""

    def settings(self) -> dict[str, Any]:
        """All settings, JSON values."""

    def check(self) -> None:
        """Read everything and raise GalleryError at the first thing that is not as written."""


class Store(Protocol):
    """A durable set of faces.

    Promises:

    1. ``add`` is all or nothing, also when the process is killed, and durable once it
       returns. So is every other change.
    2. Face ids are positive and grow: a face becomes visible only after every face with a
       smaller id, and an id is never given twice. Readers rely on it to fetch what is new.
    3. Removed and renamed-away data does not come back, and is erased from the medium as far
       as the store controls it; :attr:`Change.erased` tells when that is still to come.
    4. A person has at least one face; content hash and person together are unique.
    5. Any number of threads and processes may hold snapshots while one writes; none of them
       waits for another.
    """

    location: str
    """Where it is, as it may be shown and logged: a path, or a URL without its password."""
    name: str
    """The short form of it, for messages."""
    header: GalleryHeader

    def snapshot(self) -> AbstractContextManager[StoreView]:
        """A view of the store as it is now."""

    def add(self, faces: Sequence[StoredFace]) -> list[Added]:
        """Write a batch, leaving out faces whose person already has that content."""

    def remove_faces(self, face_ids: Sequence[int]) -> Change:
        """Remove these faces, and people left without any. Unknown id: GalleryError."""

    def remove_person(self, person: str | int) -> Change:
        """Remove a person with all faces. Unknown: GalleryError."""

    def rename(self, old: str | int, new: str) -> Change:
        """Rename a person. ``old`` unknown or ``new`` taken: GalleryError."""

    def merge(self, source: str | int, target: str | int) -> Change:
        """Move all faces of ``source`` to ``target``; a photo both have is kept once."""

    def move_faces(self, face_ids: Sequence[int], person: str) -> Change:
        """Move these faces to ``person``, who is made if needed.

        People left without faces are gone. Of a photo that ``person`` would then have twice, the
        face that was there first (then the one of smallest id) is kept. Unknown id: GalleryError.
        """

    def update_settings(self, values: Mapping[str, Any]) -> None:
        """Set each; None removes it."""

    def size_bytes(self) -> int:
        """Bytes on the medium."""

    def close(self) -> None:
        """Let go of everything; a second call does nothing. Views still in use stay valid."""
