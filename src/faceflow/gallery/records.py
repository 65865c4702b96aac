"""Values that go into a gallery and come out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from faceflow.arrays import Floats, UInt8
from faceflow.features import FaceFeatures
from faceflow.gallery.identity import GalleryHeader

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the photo."""

LandmarkCells = tuple[tuple[int, float], ...]
"""(cell, share of the face's landmarks) of every patch cell that holds any, by cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """One face to enroll.

    Attributes:
        person: who it is; kept as :func:`faceflow.gallery.person_names.person_name` gives it.
        source: where the photo came from, a label to read (file name, URL, camera).
        content_hash: sha256 of the photo's content, 64 hex digits; the same content and
            person again is a no-op.
        features: exactly one face, from the gallery's network.
        box: (4,) x0, y0, x1, y1 of the face in the photo; None when the whole photo is it.
        score: the detector's score; 1.0 when no detector was asked.
        crop: (H, W, 3) uint8 RGB, the face; a thumbnail is made of it if the gallery keeps
            them. None: no thumbnail.
    """

    person: str
    source: str
    content_hash: str
    features: FaceFeatures
    box: Sequence[float] | Floats | None = None
    score: float = 1.0
    crop: UInt8 | None = None


@dataclass(frozen=True, slots=True)
class FaceRecord:
    """What is known about one enrolled face, without its features.

    ``face_id`` is unique in its gallery, grows with time, and is never given again, not even
    after the face was removed. ``created`` is UTC. ``landmarks`` is None for faces whose
    landmarks were not kept (by an older faceflow, or because nobody had looked for them), and
    empty for a face that has none, as a whole image.
    """

    face_id: int
    person: str
    source: str
    content_hash: str
    box: Box | None
    score: float
    created: datetime
    landmarks: LandmarkCells | None = None


@dataclass(frozen=True, slots=True)
class PersonInfo:
    """A person and how many faces are enrolled.

    ``person_id`` stays with the person through renames and merges into it, and is never given
    again in its gallery; an import of an export gives new ones.
    """

    name: str
    faces: int
    person_id: int


@dataclass(frozen=True, slots=True)
class SharedPhoto:
    """A photo enrolled for one person that others have too: a group photo, or a mistake."""

    source: str
    person: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnrolReport:
    """What an enrolment did.

    Attributes:
        added: faces written.
        duplicates: faces left out because this person already has this content.
        face_ids: ids of the faces written, in order.
        shared: photos that now belong to more than one person.
        each: for every face in order its id, or None for a duplicate.
    """

    added: int = 0
    duplicates: int = 0
    face_ids: tuple[int, ...] = ()
    shared: tuple[SharedPhoto, ...] = ()
    each: tuple[int | None, ...] = ()

    @classmethod
    def total(cls, reports: Sequence[EnrolReport]) -> EnrolReport:
        """One report for several batches."""
        return cls(
            sum(report.added for report in reports),
            sum(report.duplicates for report in reports),
            tuple(face_id for report in reports for face_id in report.face_ids),
            tuple(photo for report in reports for photo in report.shared),
            tuple(one for report in reports for one in report.each),
        )


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import of embeddings did.

    Attributes:
        added: faces written.
        duplicates: faces left out because their person already had that photo.
    """

    added: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Change:
    """What a removal, rename, merge or move did.

    Attributes:
        faces: faces removed, renamed or moved.
        dropped: faces a merge or move removed because both people had the same photo.
        erased: the old data is gone from the files. False: it is gone from the gallery, but
            a copy stays in the log file until a reader in another process lets go; it is
            erased by the next change, at closing, or at the next opening.
        remains: where copies can still be that are not the gallery's to erase, as far as the
            place where it is kept tells: logs, standby servers, archives. Empty for a file, of
            which a file system or a backup may have kept something too.
    """

    faces: int
    dropped: int = 0
    erased: bool = True
    remains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GalleryStats:
    """Size and origin of a gallery; ``bytes_per_face`` is 0 while it is empty."""

    location: str
    faces: int
    people: int
    file_bytes: int
    bytes_per_face: float
    header: GalleryHeader
