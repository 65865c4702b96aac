"""From photos to faces in a gallery: looked at side by side, stored in their order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceflow.analyzer import Answer, Face, FaceAnalyzer, NamedPhoto, WholeImage
from faceflow.errors import FaceflowError
from faceflow.faces.images import content_hash, load_image
from faceflow.gallery import Enrolment, EnrolReport, Gallery
from faceflow.gallery.listing import Listing, Photo, list_photos, photos_in_csv
from faceflow.gallery.outcomes import (
    Crowd,
    EnrolmentReport,
    Ledger,
    PhotoOutcome,
    Reason,
    Skip,
    Tell,
    reason_of,
)

__all__ = [
    "Crowd",
    "EnrolmentReport",
    "Listing",
    "Looked",
    "Photo",
    "PhotoOutcome",
    "Progress",
    "Reason",
    "SelectOne",
    "Skip",
    "enroll_photos",
    "list_photos",
    "looked_at",
    "photos_in_csv",
    "store_looked",
]

SelectOne = Literal["largest", "centre"]
Progress = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A photo that somebody has looked at.

    Attributes:
        place: what it is called, and kept as the face's source.
        person: whose it is; None where nobody could tell.
        content_hash: sha256 of its content; "" where it could not be read.
        found: its face, what is wrong with it, or None: its person has it already.
    """

    place: str
    person: str | None
    content_hash: str
    found: Face | FaceflowError | None


def enroll_photos(
    listing: Listing,
    gallery: Gallery,
    analyzer: FaceAnalyzer,
    *,
    select: SelectOne = "largest",
    whole_image: WholeImage = "never",
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> EnrolmentReport:
    """Find the face in each photo and store it, some photos at a time.

    Photos are looked at side by side while this thread writes, see
    :meth:`faceflow.analyzer.FaceAnalyzer.analyze_many`, which also says what memory that takes; 64
    faces more wait to be written. The order of the photos is the order of the faces.

    A photo whose content is enrolled for its person already is recognised by its hash before
    anything is computed, so running the same enrolment again is quick. What was stored when
    the work is interrupted stays.

    Args:
        listing: from :func:`list_photos`.
        gallery: made for the analyzer's network and detector, open for writing.
        analyzer: finds and describes the faces.
        select: which face of a photo with several is the person's: "largest" or "centre".
        whole_image: as in :meth:`faceflow.analyzer.FaceAnalyzer.analyze`.
        progress: told after each photo.
        tell: told what became of each photo, in their order.

    Raises:
        GalleryMismatchError: the gallery holds another network's features, or faces that were
            aligned otherwise.
        GalleryError: the gallery cannot be written; the batches before are kept.
    """
    gallery.require_network(analyzer.network)
    gallery.require_detector(analyzer.detector_name)
    total = len(listing.photos) + len(listing.skipped)
    # Closed whatever happens: no thread may look at photos that nobody will store.
    with closing(_looked(listing, gallery, analyzer, select, whole_image)) as looked:
        return store_looked(
            looked,
            gallery,
            select=select,
            progress=None if progress is None else lambda done: progress(done, total),
            tell=tell,
        )


def store_looked(
    photos: Iterable[Looked],
    gallery: Gallery,
    *,
    select: SelectOne,
    progress: Callable[[int], None] | None = None,
    tell: Tell | None = None,
) -> EnrolmentReport:
    """Store the faces of photos in their order, whoever has looked at them.

    Args:
        photos: taken as needed, on this thread.
        gallery: made for the network and detector that looked.
        select: which face of a photo with several was taken.
        progress: told how many photos are done, after each.
        tell: told what became of each photo.
    """
    run = _Run(photos, select, progress, tell)
    stored = gallery.enroll(run.enrolments(), on_commit=run.ledger.written)
    run.ledger.written(EnrolReport())
    return run.report(stored)


@dataclass(slots=True)
class _Reading:
    """A photo on its way, and the hash of its content once it was read."""

    photo: Photo
    digest: str = ""


class _AlreadyEnrolledError(FaceflowError):
    """Not a failure: the photo need not be looked at."""


def _looked(
    listing: Listing,
    gallery: Gallery,
    analyzer: FaceAnalyzer,
    select: SelectOne,
    whole_image: WholeImage,
) -> Generator[Looked, None, None]:
    """All photos of a listing, looked at by threads of this process."""
    for skip in listing.skipped:
        yield Looked(str(skip.path), skip.person, "", skip.error)

    def read(reading: _Reading) -> NamedPhoto:
        """Read a photo's file, once, for its hash and its pixels; on one of many threads."""
        place = str(reading.photo.place)
        content = reading.photo.read()
        reading.digest = content_hash(content)
        if reading.photo.person in gallery.people_with(reading.digest):
            raise _AlreadyEnrolledError(f"{place} is enrolled already")
        return NamedPhoto(load_image(content, name=place), place)

    with closing(
        analyzer.analyze_each(
            map(_Reading, listing.photos), read, select=select, whole_image=whole_image
        )
    ) as answers:
        for reading, answer in answers:
            yield looked_at(str(reading.photo.place), reading.photo.person, reading.digest, answer)


def looked_at(place: str, person: str, digest: str, answer: Answer) -> Looked:
    """A photo with what an analyzer that takes one face a photo said of it."""
    if isinstance(answer, _AlreadyEnrolledError):
        return Looked(place, person, digest, None)
    if isinstance(answer, FaceflowError):
        return Looked(place, person, digest, answer)
    (face,) = answer
    return Looked(place, person, digest, face)


class _Run:
    """One enrolment under way: turns photos into enrolments and remembers what befell them."""

    def __init__(
        self,
        photos: Iterable[Looked],
        select: SelectOne,
        progress: Callable[[int], None] | None,
        tell: Tell | None,
    ) -> None:
        self._photos = photos
        self._select = select
        self._progress = progress
        self._skipped: list[Skip] = []
        self._crowds: list[Crowd] = []
        self._duplicates = 0
        self._done = 0
        self.ledger = Ledger(tell)

    def enrolments(self) -> Iterator[Enrolment]:
        """The faces to store; errors of single photos are noted and passed over."""
        new: set[tuple[str, str]] = set()
        for photo in self._photos:
            found, person = photo.found, photo.person
            digest = photo.content_hash or None
            if isinstance(found, FaceflowError):
                self._skipped.append(Skip(Path(photo.place), person, found))
                reason = reason_of(found, person)
                self.ledger.certain(
                    PhotoOutcome(photo.place, person, "skipped", reason, str(found), digest)
                )
                self._advance()
                continue
            assert person is not None
            key = (photo.content_hash, person)
            if found is None or key in new:
                self._duplicates += 1
                self.ledger.certain(
                    PhotoOutcome(photo.place, person, "duplicate", "duplicate", None, digest)
                )
                self._advance()
                continue
            new.add(key)
            if found.among > 1:
                self._crowds.append(Crowd(Path(photo.place), person, found.among, self._select))
            self.ledger.handed_over(
                PhotoOutcome(photo.place, person, "added", content_hash=digest, faces=found.among)
            )
            self._advance()
            yield _enrolment(photo, person, found)

    def report(self, stored: EnrolReport) -> EnrolmentReport:
        return EnrolmentReport(
            photos=self._done,
            added=stored.added,
            duplicates=self._duplicates + stored.duplicates,
            skipped=tuple(self._skipped),
            crowds=tuple(self._crowds),
            shared=stored.shared,
        )

    def _advance(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done)


def _enrolment(photo: Looked, person: str, face: Face) -> Enrolment:
    return Enrolment(
        person=person,
        source=photo.place,
        content_hash=photo.content_hash,
        features=face.features,
        box=face.box if face.source == "detected" else None,
        score=face.score,
        crop=face.crop,
    )
