"""One answer of ``identify`` as JSON and as table rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceflow.cli.output import Cell, number
from faceflow.errors import FaceflowError, NoFaceError

if TYPE_CHECKING:
    from faceflow.analyzer import Face
    from faceflow.identification import Matches, PersonMatch
    from faceflow.reports import Report

_STYLES = {
    "identified": "bold green",
    "unknown": "bold yellow",
    "no_face": "red",
    "error": "red",
}
_WORDS = {"no_face": "no face", "empty": "empty gallery"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``identify`` says about one face of a photo, or about a photo that failed.

    Attributes:
        query: the photo.
        place, of: this is face number ``place`` of ``of`` answered for; 0 for a failure.
        face, matches: the face and the answer for it; None for a failure.
        report: files with the reasons, if asked for.
        error: what went wrong.
    """

    query: Path
    place: int = 0
    of: int = 0
    face: Face | None = None
    matches: Matches | None = None
    report: Report | None = None
    error: FaceflowError | None = None

    @property
    def status(self) -> str:
        """identified, unknown, ranked, empty, no_face or error."""
        if self.matches is not None:
            return self.matches.status
        return "no_face" if isinstance(self.error, NoFaceError) else "error"

    def record(self, top: int) -> dict[str, Any]:
        """The object of ``identify --json``."""
        found: dict[str, Any] = {"query": str(self.query), "status": self.status}
        if self.matches is None or self.face is None:
            return found | {"matches": [], "error": str(self.error)}
        found |= {
            "person": self.matches.person if self.matches.status == "identified" else None,
            "threshold": self.matches.threshold,
            "face": self.place,
            "faces": self.of,
            "box": [float(v) for v in self.face.box],
            "detection_score": self.face.score,
            "source": self.face.source,
            "matches": [_match(match) for match in self.matches.people[:top]],
        }
        if self.report is not None:
            picture = self.report.picture
            found["picture"] = None if picture is None else str(picture)
            found["page"] = str(self.report.page)
        return found

    def rows(self, top: int) -> list[tuple[Cell, ...]]:
        """query, decision, person, score, cosine, EMD, ranks."""
        label = f"{self.query} #{self.place}" if self.of > 1 else str(self.query)
        decision = (_WORDS.get(self.status, self.status), _STYLES.get(self.status, ""))
        if self.matches is None or not self.matches.people:
            return [(label, decision, "-", "-", "-", "-", "-")]
        return [
            (
                label if place == 0 else "",
                decision if place == 0 else "",
                match.person,
                number(match.score),
                number(match.cosine),
                number(match.emd),
                f"{match.stage1_rank} -> {match.rank}",
            )
            for place, match in enumerate(self.matches.people[:top])
        ]


def _match(match: PersonMatch) -> dict[str, Any]:
    return {
        "person": match.person,
        "score": match.score,
        "cosine": match.cosine,
        "emd": match.emd,
        "stage1_rank": match.stage1_rank,
        "rank": match.rank,
        "face_id": match.face_id,
        "faces": match.faces,
    }
