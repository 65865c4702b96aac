"""From photos on disk to faces in a gallery: folders per person, CSV lists, single photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceflow.analyzer import Face, FaceAnalyzer, WholeImage
from faceflow.arrays import UInt8
from faceflow.errors import FaceflowError, ImageError, InputError, NoFaceError
from faceflow.faces.detectors import Detection, Detector
from faceflow.faces.images import content_hash, iter_images
from faceflow.gallery import Enrolment, EnrolReport, Gallery, SharedPhoto, person_name
from faceflow.system.files import read_table

Reason = Literal["no person", "unreadable", "no face", "failed"]
SelectOne = Literal["largest", "centre"]
Progress = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and the person it is to be enrolled under."""

    path: Path
    person: str


@dataclass(frozen=True, slots=True)
class Skip:
    """A photo that was not enrolled, and why; ``str(error)`` says it in a sentence."""

    path: Path
    person: str | None
    error: FaceflowError

    @property
    def reason(self) -> Reason:
        """The kind of error in two words."""
        if isinstance(self.error, NoFaceError):
            return "no face"
        if isinstance(self.error, ImageError):
            return "unreadable"
        return "no person" if self.person is None else "failed"


@dataclass(frozen=True, slots=True)
class Crowd:
    """A photo in which several faces were found; ``taken`` says which one was enrolled."""

    path: Path
    person: str
    faces: int
    taken: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Photos to enroll, and those that no person can be told for."""

    photos: tuple[Photo, ...]
    skipped: tuple[Skip, ...] = ()

    def __add__(self, other: Listing) -> Listing:
        return Listing(self.photos + other.photos, self.skipped + other.skipped)


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """What an enrolment did; ``photos == added + duplicates + len(skipped)``.

    Attributes:
        photos: photos seen.
        added: faces stored, one a photo.
        duplicates: photos whose content the gallery already knew; they were not analyzed.
        skipped: photos that could not be enrolled, each with its reason.
        crowds: enrolled photos with several faces, each with the face that was taken.
        shared: photos that are now enrolled for more than one person.
    """

    photos: int
    added: int
    duplicates: int
    skipped: tuple[Skip, ...]
    crowds: tuple[Crowd, ...]
    shared: tuple[SharedPhoto, ...]


def list_photos(sources: Iterable[str | Path], *, person: str | None = None) -> Listing:
    """Find the photos behind folders, CSV files and photo paths.

    * A folder holds one folder per person, however deep below it their photos lie; photos that
      lie directly in it belong to nobody and are reported. With ``person`` all photos below
      it are that person's.
    * A ``.csv`` file has the columns ``path`` and ``person``; paths are relative to the file.
    * Anything else is one photo and needs ``person``.

    Raises:
        InputError: no photo at all, a photo without a person, or a CSV that is none.
        ImageError: a folder cannot be read.
    """
    found = Listing(())
    for source in map(Path, sources):
        if source.is_dir():
            found += _tree(source, person)
        elif source.suffix.lower() == ".csv":
            found += photos_in_csv(source)
        elif person is not None:
            found += Listing((Photo(source, person_name(person)),))
        elif not source.exists():
            raise InputError(f"{source} does not exist", todo="check the name")
        else:
            raise InputError(
                f"It is not said who {source} shows",
                todo="give the name (--person NAME), or a folder with one folder per person",
            )
    return found


def _tree(folder: Path, person: str | None) -> Listing:
    paths = iter_images(folder)
    if not paths:
        raise InputError(
            f"There are no photos in {folder}",
            todo="give a folder that holds one folder of photos per person",
        )
    if person is not None:
        return Listing(tuple(Photo(path, person_name(person)) for path in paths))
    photos, skipped = [], []
    for path in paths:
        below = path.relative_to(folder).parts
        try:
            if len(below) < 2:
                raise InputError(f"{path} lies in no person's folder")
            photos.append(Photo(path, person_name(below[0])))
        except InputError as error:  # also a folder whose name cannot be a person's
            skipped.append(Skip(path, None, error))
    if not photos and any(len(skip.path.relative_to(folder).parts) < 2 for skip in skipped):
        raise InputError(
            f"The photos in {folder} lie in no person's folder",
            todo="put each person's photos into a folder with the person's name, "
            "or say whose they all are (--person NAME)",
        )
    return Listing(tuple(photos), tuple(skipped))


def photos_in_csv(path: str | Path) -> Listing:
    """Photos listed in a CSV file with the columns ``path`` and ``person``.

    Raises:
        InputError: the file cannot be read, lacks a column, has an incomplete row, or no row.
    """
    file = Path(path)
    example = "its first line must be 'path,person' and each other line a photo and a name"
    photos = []
    for line, (place, person) in read_table(file, ("path", "person"), todo=example):
        if not place or not person.strip():
            raise InputError(f"{file}, line {line}, lacks a path or a person", todo=example)
        photos.append(Photo(file.parent / place, _name(person, file, line)))
    if not photos:
        raise InputError(f"{file} lists no photos", todo=example)
    return Listing(tuple(photos))


def _name(text: str, file: Path, line: int) -> str:
    try:
        return person_name(text)
    except InputError as error:
        raise InputError(f"{file}, line {line}: {error.what}", why=error.why) from error


def enroll_photos(
    listing: Listing,
    gallery: Gallery,
    analyzer: FaceAnalyzer,
    *,
    select: SelectOne = "largest",
    whole_image: WholeImage = "never",
    progress: Progress | None = None,
) -> EnrolmentReport:
    """Find the face in each photo and store it, some photos at a time.

    A photo whose content is enrolled for its person already is recognised by its hash before
    anything is computed, so running the same enrolment again is quick. What was stored when
    the work is interrupted stays.

    Args:
        listing: from :func:`list_photos`.
        gallery: made for the analyzer's network and alignment, open for writing.
        analyzer: finds and describes the faces.
        select: which face of a photo with several is the person's: "largest" or "centre".
        whole_image: as in :meth:`faceflow.analyzer.FaceAnalyzer.analyze`.
        progress: told after each photo.

    Raises:
        GalleryMismatchError: the gallery holds another network's features, or faces that were
            aligned otherwise.
        GalleryError: the gallery cannot be written; the batches before are kept.
    """
    gallery.require_network(analyzer.network)
    gallery.require_alignment(analyzer.alignment)
    run = _Run(listing, gallery, analyzer, select, whole_image, progress)
    stored = gallery.enroll(run.enrolments())
    return run.report(stored)


class _Run:
    """One enrolment under way: turns photos into enrolments and remembers what befell them."""

    def __init__(
        self,
        listing: Listing,
        gallery: Gallery,
        analyzer: FaceAnalyzer,
        select: SelectOne,
        whole_image: WholeImage,
        progress: Progress | None,
    ) -> None:
        self._photos = listing.photos
        self._total = len(listing.photos) + len(listing.skipped)
        self._known = {(record.content_hash, record.person) for record in gallery.faces()}
        self._detector = _CountingDetector(analyzer.detector)
        self._analyzer = FaceAnalyzer(analyzer.network, self._detector)
        self._select = select
        self._whole_image = whole_image
        self._progress = progress
        self._skipped = list(listing.skipped)
        self._crowds: list[Crowd] = []
        self._duplicates = 0
        self._done = 0

    def enrolments(self) -> Iterator[Enrolment]:
        """The faces to store; errors of single photos are noted and passed over."""
        pending: list[tuple[Photo, str]] = []
        self._advance(len(self._skipped))

        def unknown() -> Iterator[Path]:
            for photo in self._photos:
                try:
                    key = (content_hash(photo.path), photo.person)
                except FaceflowError as error:
                    self._skip(photo, error)
                    continue
                if key in self._known:
                    self._duplicates += 1
                    self._advance()
                    continue
                self._known.add(key)
                pending.append((photo, key[0]))
                self._detector.photo = photo.path
                yield photo.path

        # Answers come in the order of the photos, a few photos behind.
        for _, found in self._analyzer.analyze_many(
            unknown(), select=self._select, whole_image=self._whole_image
        ):
            photo, digest = pending.pop(0)
            if isinstance(found, FaceflowError):
                self._known.discard((digest, photo.person))
                self._skip(photo, found)
                continue
            faces = self._detector.counts.pop(photo.path, 0)
            if faces > 1:
                self._crowds.append(Crowd(photo.path, photo.person, faces, self._select))
            self._advance()
            yield _enrolment(photo, digest, found[0])

    def report(self, stored: EnrolReport) -> EnrolmentReport:
        return EnrolmentReport(
            photos=self._total,
            added=stored.added,
            duplicates=self._duplicates + stored.duplicates,
            skipped=tuple(self._skipped),
            crowds=tuple(self._crowds),
            shared=stored.shared,
        )

    def _skip(self, photo: Photo, error: FaceflowError) -> None:
        self._skipped.append(Skip(photo.path, photo.person, error))
        self._advance()

    def _advance(self, photos: int = 1) -> None:
        self._done += photos
        if self._progress is not None:
            self._progress(self._done, self._total)


def _enrolment(photo: Photo, digest: str, face: Face) -> Enrolment:
    return Enrolment(
        person=photo.person,
        source=str(photo.path),
        content_hash=digest,
        features=face.features,
        box=face.box if face.source == "detected" else None,
        score=face.score,
        crop=face.crop,
    )


class _CountingDetector:
    """Passes photos on to a detector and notes how many faces each one showed.

    The analyzer answers with the chosen face alone; ``photo`` is set to the photo it takes
    next, which works because it takes them one by one.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.photo = Path()
        self.counts: dict[Path, int] = {}

    @property
    def name(self) -> str:
        return self._detector.name

    def detect(self, image: UInt8) -> list[Detection]:
        found = self._detector.detect(image)
        self.counts[self.photo] = len(found)
        return found
