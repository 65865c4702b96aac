"""What the demo found, query by query."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceflow.errors import FaceflowError
from faceflow.explain.report import Report
from faceflow.gallery.enrolment import EnrolmentReport
from faceflow.matching.identification import Matches, PersonMatch
from faceflow.matching.options import MatchOptions

FORMAT = "faceflow-demo/1"


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One query: a covered photo, whom it really shows, and what was answered.

    Attributes:
        query: name of the query, which its files carry too.
        photo: the photo that was covered, or came covered.
        covered: the covered photo; None when no face was found to cover.
        cover: name of the occlusion.
        person: whom the photo really shows.
        enrolled: whether that person is in the gallery; "unknown" is the right answer if not.
        matches: the answer; None when the photo failed.
        report: the files that explain the answer.
        error: why the photo failed.
    """

    query: str
    photo: Path
    covered: Path | None
    cover: str
    person: str
    enrolled: bool
    matches: Matches | None = None
    report: Report | None = None
    error: FaceflowError | None = None

    @property
    def best(self) -> PersonMatch | None:
        """The best person, whether the score reached the threshold or not."""
        return self.matches.people[0] if self.matches and self.matches.people else None

    @property
    def status(self) -> str:
        """identified, unknown, ranked (no threshold could be set), or failed."""
        return "failed" if self.matches is None else self.matches.status

    @property
    def right(self) -> bool:
        """Whether the answer is true; a photo that failed is not."""
        if self.matches is None:
            return False
        if not self.enrolled:
            return self.matches.status == "unknown"
        return self.matches.person == self.person

    @property
    def ranks(self) -> tuple[int, int] | None:
        """(by cosine alone, after comparing patches) rank of the right person, from 1.

        None for people who are not enrolled, failed photos, and people outside the shortlist.
        """
        found = [m for m in self.matches.people if m.person == self.person] if self.matches else []
        return (found[0].stage1_rank, found[0].rank) if found else None


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The whole demo.

    Attributes:
        photos: the folder of photos.
        synthetic: whether its people are drawn and not real.
        output: the folder with everything the demo wrote.
        gallery: the gallery file in it.
        page: the HTML page in it.
        people, faces: how many are enrolled.
        enrolment: what enrolling did.
        rows: the queries.
        left_out: how many more queries there would have been without the cap.
        thresholds: cover -> score that about one in ten other people's covered photos reaches.
        options: how faces were compared.
        seconds: step -> time it took.
    """

    photos: Path
    synthetic: bool
    output: Path
    gallery: Path
    page: Path
    people: int
    faces: int
    enrolment: EnrolmentReport
    rows: tuple[DemoRow, ...]
    left_out: int
    thresholds: dict[str, float]
    options: MatchOptions
    seconds: dict[str, float]

    @property
    def right(self) -> int:
        """How many answers are true."""
        return sum(row.right for row in self.rows)

    @property
    def first(self) -> tuple[int, int, int]:
        """Among queries of enrolled people: first by cosine, first after patches, all of them."""
        known = [row for row in self.rows if row.enrolled]
        ranks = [row.ranks for row in known if row.ranks is not None]
        return sum(a == 1 for a, _ in ranks), sum(b == 1 for _, b in ranks), len(known)


def to_json(result: DemoResult) -> dict[str, Any]:
    """The result as a dictionary that ``json.dumps`` takes as it is."""
    by_cosine, by_score, asked = result.first
    return {
        "format": FORMAT,
        "finished": True,
        "synthetic": result.synthetic,
        "photos": str(result.photos),
        "gallery": str(result.gallery),
        "page": str(result.page),
        "people": result.people,
        "faces": result.faces,
        "not_enrolled": len(result.enrolment.skipped),
        "right": result.right,
        "queries": len(result.rows),
        "left_out": result.left_out,
        "first_by_cosine": by_cosine,
        "first_by_score": by_score,
        "enrolled_queries": asked,
        "thresholds": result.thresholds,
        "alpha": result.options.alpha,
        "weighting": result.options.weighting,
        "seconds": {step: round(time, 3) for step, time in result.seconds.items()},
        "rows": [_row(row) for row in result.rows],
    }


def _row(row: DemoRow) -> dict[str, Any]:
    best, ranks = row.best, row.ranks
    picture = row.report.picture if row.report else None
    return {
        "query": row.query,
        "photo": str(row.photo),
        "covered": None if row.covered is None else str(row.covered),
        "cover": row.cover,
        "shows": row.person,
        "enrolled": row.enrolled,
        "status": row.status,
        "right": row.right,
        "person": None if best is None else best.person,
        "score": None if best is None else best.score,
        "cosine": None if best is None else best.cosine,
        "visible_cosine": None if best is None else best.visible_cosine,
        "emd": None if best is None else best.emd,
        "threshold": row.matches.threshold if row.matches else None,
        "stage1_rank": None if ranks is None else ranks[0],
        "rank": None if ranks is None else ranks[1],
        "picture": None if picture is None else str(picture),
        "page": None if row.report is None else str(row.report.page),
        "error": None if row.error is None else str(row.error),
    }
