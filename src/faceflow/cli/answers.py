"""One answer of ``identify`` as JSON and as table rows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceflow.cli.failures import sentence
from faceflow.cli.output import Cell, number
from faceflow.errors import FaceflowError, NoFaceError

if TYPE_CHECKING:
    from faceflow.explain.report import Report
    from faceflow.matching.identification import PersonMatch
    from faceflow.matching.shortlist import Coverage
    from faceflow.quality import Quality
    from faceflow.results import FoundFace

_STYLES = {
    "identified": "bold green",
    "unknown": "bold yellow",
    "unsure": "bold yellow",
    "no_face": "red",
    "error": "red",
}
_WORDS = {"no_face": "no face", "empty": "empty gallery"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``identify`` says about one face of a photo, or about a photo that failed.

    It keeps no pictures or features, so that thousands of them fit into memory.

    Attributes:
        query: the photo.
        status: identified, unknown, ranked, unsure, empty, no_face or error.
        place, of: this is face number ``place`` of ``of`` answered for; 0 for a failure.
        box, score, source: where the face was found, see :class:`faceflow.analyzer.Face`.
        threshold: what decided, if anything.
        people: the best people.
        report: files with the reasons, if asked for.
        quality: how much the face gives to go by.
        patch_model: digest of what is known of the network's patches, where it counts.
        search: a service's id of the search, under which it can be looked at there.
        ranked_by: what compared faces, see :class:`faceflow.matching.identification.Matches`.
        query_network: the student that looked at it, if any.
        coverage: what was searched, where the gallery is spread over shards.
        error: what went wrong.
    """

    query: Path
    status: str
    place: int = 0
    of: int = 0
    box: tuple[float, ...] = ()
    score: float = 0.0
    source: str = ""
    threshold: float | None = None
    people: tuple[PersonMatch, ...] = ()
    report: Report | None = None
    quality: Quality | None = None
    patch_model: str | None = None
    search: str | None = None
    ranked_by: str | None = None
    query_network: str | None = None
    coverage: Coverage | None = None
    error: FaceflowError | None = None

    @classmethod
    def of_face(
        cls, query: Path, place: tuple[int, int], found: FoundFace, top: int, report: Report | None
    ) -> Answer:
        """The answer for face ``place[0]`` of ``place[1]``, with the best ``top`` people."""
        return cls(
            query,
            found.status,
            *place,
            box=tuple(float(value) for value in found.box),
            score=found.face.score,
            source=found.face.source,
            threshold=found.threshold,
            people=found.people[:top],
            report=report,
            quality=found.quality,
            patch_model=found.patch_model,
            ranked_by=found.matches.ranked_by,
            query_network=found.query_network,
            coverage=found.matches.coverage,
        )

    @classmethod
    def of_failure(cls, query: Path, error: FaceflowError) -> Answer:
        """The answer for a photo that could not be used."""
        return cls(query, "no_face" if isinstance(error, NoFaceError) else "error", error=error)

    def record(self) -> dict[str, Any]:
        """The object of ``identify --json``."""
        found: dict[str, Any] = {"query": str(self.query), "status": self.status}
        if self.error is not None:
            return found | {"matches": [], "error": sentence(self.error)}
        found |= {
            "person": self.people[0].person if self.status == "identified" else None,
            "threshold": self.threshold,
            "face": self.place,
            "faces": self.of,
            "box": list(self.box),
            "detection_score": self.score,
            "source": self.source,
            "quality": None if self.quality is None else _quality(self.quality),
            "patch_model": self.patch_model,
            "ranked_by": self.ranked_by,
            "query_network": self.query_network,
            "matches": [_match(match) for match in self.people],
        }
        if self.search is not None:
            found["search"] = self.search
        if self.coverage is not None:
            found["shards"] = {
                "revisions": self.coverage.revisions,
                "missing": self.coverage.missing,
                "stale": self.coverage.stale,
            }
        if self.report is not None:
            picture = self.report.picture
            found["picture"] = None if picture is None else str(picture)
            found["page"] = str(self.report.page)
        return found

    def warnings(self) -> list[str]:
        """What the answer is not about, in a line each."""
        found = []
        if self.coverage is not None and self.coverage.missing:
            gone = ", ".join(map(str, self.coverage.missing))
            found.append(
                f"partial: shard {gone} of {len(self.coverage.revisions)} did not answer, so "
                "nobody there can be found"
            )
        if self.coverage is not None and self.coverage.stale:
            found.append("stale: the database could not be reached, so changes since are not seen")
        return found

    def rows(self, top: int) -> list[tuple[Cell, ...]]:
        """query, decision, person, score, cosine, visible cosine, EMD, ranks."""
        label = f"{self.query} #{self.place}" if self.of > 1 else str(self.query)
        decision = (_WORDS.get(self.status, self.status), _STYLES.get(self.status, ""))
        if not self.people:
            return [(label, decision, "-", "-", "-", "-", "-", "-")]
        return [
            (
                label if place == 0 else "",
                decision if place == 0 else "",
                match.person,
                number(match.score),
                number(match.cosine),
                number(match.visible_cosine),
                number(match.emd),
                f"{match.stage1_rank} -> {match.rank}",
            )
            for place, match in enumerate(self.people[:top])
        ]


def _quality(quality: Quality) -> dict[str, Any]:
    return dataclasses.asdict(quality) | {"band": quality.band, "flaws": list(quality.flaws)}


def _match(match: PersonMatch) -> dict[str, Any]:
    return {
        "person": match.person,
        "score": match.score,
        "cosine": match.cosine,
        "emd": match.emd,
        "visible_cosine": match.visible_cosine,
        "stage1_rank": match.stage1_rank,
        "rank": match.rank,
        "face_id": match.face_id,
        "faces": match.faces,
    }
