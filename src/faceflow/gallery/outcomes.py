"""What became of photos that were to be enrolled: one by one, and in sum."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from faceflow.errors import FaceflowError, ImageError, NoFaceError
from faceflow.gallery.records import EnrolReport, SharedPhoto

Outcome = Literal["added", "duplicate", "skipped"]
Reason = Literal["no person", "unreadable", "no face", "failed"]


@dataclass(frozen=True, slots=True)
class Skip:
    """A photo that was not enrolled, and why; ``str(error)`` says it in a sentence."""

    path: Path
    person: str | None
    error: FaceflowError

    @property
    def reason(self) -> Reason:
        """The kind of error in two words."""
        return reason_of(self.error, self.person)


def reason_of(error: FaceflowError, person: str | None) -> Reason:
    """The kind of error in two words."""
    if isinstance(error, NoFaceError):
        return "no face"
    if isinstance(error, ImageError):
        return "unreadable"
    return "no person" if person is None else "failed"


@dataclass(frozen=True, slots=True)
class Crowd:
    """A photo in which several faces were found; ``taken`` says which one was enrolled."""

    path: Path
    person: str
    faces: int
    taken: str


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


@dataclass(frozen=True, slots=True)
class PhotoOutcome:
    """What became of one photo.

    Attributes:
        photo: its path, or what else its source is called.
        person: whose it was to be; None where nobody could tell.
        outcome: "added", "duplicate" (its person has it already) or "skipped".
        reason: why, in the words of the service's jobs: "no person", "unreadable", "no face",
            "failed" or "duplicate"; None for one that was added.
        detail: the same in a sentence.
        content_hash: sha256 of its content; None where it was not read.
        face_id: of the face that was added.
        faces: how many faces were found; None where nobody looked.
    """

    photo: str
    person: str | None
    outcome: Outcome
    reason: str | None = None
    detail: str | None = None
    content_hash: str | None = None
    face_id: int | None = None
    faces: int | None = None


Tell = Callable[[PhotoOutcome], None]


class Ledger:
    """Tells what became of photos, in their order, each once it is certain.

    A face is certain when its batch is written: only then has it an id, or is known to have been
    written by somebody else meanwhile.
    """

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._waiting: deque[tuple[PhotoOutcome, bool]] = deque()

    def certain(self, outcome: PhotoOutcome) -> None:
        """A photo that adds no face."""
        self._note(outcome, True)

    def handed_over(self, outcome: PhotoOutcome) -> None:
        """A photo whose face is among those to be written next."""
        self._note(outcome, False)

    def written(self, report: EnrolReport) -> None:
        """The faces that were handed over are written, see :attr:`EnrolReport.each`."""
        ids = iter(report.each)
        while self._waiting:
            outcome, certain = self._waiting.popleft()
            self._say(outcome if certain else _with_id(outcome, next(ids)))

    def _note(self, outcome: PhotoOutcome, certain: bool) -> None:
        if self._tell is None:
            return
        if certain and not self._waiting:
            self._say(outcome)
        else:
            self._waiting.append((outcome, certain))

    def _say(self, outcome: PhotoOutcome) -> None:
        if self._tell is not None:
            self._tell(outcome)


def _with_id(outcome: PhotoOutcome, face_id: int | None) -> PhotoOutcome:
    if face_id is None:
        return replace(outcome, outcome="duplicate", reason="duplicate")
    return replace(outcome, face_id=face_id)
