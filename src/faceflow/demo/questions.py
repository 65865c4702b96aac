"""Covered photos put to the gallery: to set thresholds, and as the demo's queries."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from faceflow.analyzer import Face, FaceAnalyzer
from faceflow.arrays import UInt8
from faceflow.demo.material import COVERS, Query, as_jpeg, cover_photo
from faceflow.demo.results import DemoRow
from faceflow.errors import FaceflowError, ImageError, NoFaceError
from faceflow.explain.report import file_name, write_report
from faceflow.gallery import Gallery
from faceflow.gallery.enrolment import Photo
from faceflow.matching.identification import Matches, identify
from faceflow.matching.options import MatchOptions
from faceflow.system.files import atomic_write

Tell = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""
MOST_CALIBRATION = 36
"""At most this many enrolled photos are covered to set the thresholds."""
_PASSED = 0.9
"""Share of other people's covered photos that must stay below a threshold."""
_ON_PAGE = 3  # people on a query's page
_QUERY_SEED, _CALIBRATION_SEED = 1, 2


class Asker:
    """Covers photos and asks the gallery who they show."""

    def __init__(
        self,
        place: Path,
        gallery: Gallery,
        analyzer: FaceAnalyzer,
        options: MatchOptions,
    ) -> None:
        self._place = place
        self._gallery = gallery
        self._analyzer = analyzer
        self._options = options

    def thresholds(self, photos: Sequence[Photo], tell: Tell) -> dict[str, float]:
        """Cover -> the score that about one in ten covered photos reaches for somebody else.

        Enrolled photos are covered and compared with everybody but their own person. How high
        wrong matches score depends on what is covered, so each cover has its own threshold; a
        cover without any score has none.
        """
        chosen = _spread(photos)
        taken: list[tuple[Photo, str]] = []

        def covered() -> Iterator[UInt8]:
            for done, (photo, cover) in enumerate(chosen):
                tell(done, len(chosen))
                try:
                    image = cover_photo(photo, cover, self._analyzer, seed=_CALIBRATION_SEED)
                except (ImageError, NoFaceError):
                    continue
                taken.append((photo, cover))
                yield image

        scores: dict[str, list[float]] = defaultdict(list)
        answers = self._analyzer.analyze_many(covered(), select="largest")
        for place, (_, found) in enumerate(answers):
            if isinstance(found, FaceflowError):
                continue
            photo, cover = taken[place]
            people = self._search(found[0], None).people
            others = [match.score for match in people if match.person != photo.person]
            scores[cover] += others[:1]
        return {
            cover: float(np.quantile(found, _PASSED)) for cover, found in scores.items() if found
        }

    def ask(
        self, asked: Sequence[Query], thresholds: dict[str, float], tell: Tell
    ) -> list[DemoRow]:
        """Cover the photos that are not yet, save them, identify them and write the reasons.

        Args:
            asked: the queries.
            thresholds: from :meth:`thresholds`.
            tell: told (done, all).
        """
        rows: dict[int, DemoRow] = {}
        taken: list[int] = []

        def saved() -> Iterator[Path]:
            for place, query in enumerate(asked):
                name = _query_name(query, {row.query for row in rows.values()})
                photo, cover = query.photo, query.cover
                row = DemoRow(name, photo.path, None, cover, photo.person, query.enrolled)
                try:
                    file_path = photo.path if query.covered else self._cover(query, name)
                except (ImageError, NoFaceError) as error:
                    rows[place] = replace(row, error=error)
                    continue
                rows[place] = replace(row, covered=file_path)
                taken.append(place)
                yield file_path

        # Read back from the files: `faceflow identify` on them must give the same answers.
        answers = self._analyzer.analyze_many(saved(), select="largest")
        for count, (_, found) in enumerate(answers):
            row = rows[taken[count]]
            rows[taken[count]] = self._answered(row, found, thresholds.get(row.cover))
            tell(count, len(asked))
        tell(len(asked), len(asked))
        return [rows[place] for place in sorted(rows)]

    def _cover(self, query: Query, name: str) -> Path:
        """Cover a photo and save it."""
        image = cover_photo(query.photo, query.cover, self._analyzer, seed=_QUERY_SEED)
        file_path = self._place / "queries" / f"{name}.jpg"
        with atomic_write(file_path) as file:
            file.write(as_jpeg(image))
        return file_path

    def _answered(
        self, row: DemoRow, found: list[Face] | FaceflowError, threshold: float | None
    ) -> DemoRow:
        if isinstance(found, FaceflowError):
            return replace(row, error=found)
        matches = self._search(found[0], threshold)
        folder = self._place / "flows"
        report = write_report(
            folder, row.query, found[0], matches, self._gallery, self._options, top=_ON_PAGE
        )
        return replace(row, matches=matches, report=report)

    def _search(self, face: Face, threshold: float | None) -> Matches:
        return identify(face.features, self._gallery, options=self._options, threshold=threshold)[0]


def _query_name(query: Query, taken: set[str]) -> str:
    """The photo's own name, with the person's where that does not hold it; not a taken one."""
    stem, person = query.photo.path.stem, query.photo.person
    if query.covered:
        return stem
    text = stem if stem.startswith(person) else f"{person} {stem}"
    name = f"{file_name(text)}-{query.cover}"
    # Some file systems take upper and lower case for the same.
    folded = {other.casefold() for other in taken}
    names = (name if n == 1 else f"{name}-{n}" for n in itertools.count(1))
    return next(free for free in names if free.casefold() not in folded)


def _spread(photos: Sequence[Photo]) -> list[tuple[Photo, str]]:
    """Photos to set thresholds on: of as many people as possible, the covers in turn."""
    seen: dict[str, int] = defaultdict(int)
    rounds: dict[int, list[Photo]] = defaultdict(list)
    for photo in photos:
        rounds[seen[photo.person]].append(photo)
        seen[photo.person] += 1
    spread = [photo for number in sorted(rounds) for photo in rounds[number]][:MOST_CALIBRATION]
    return [(photo, COVERS[place % len(COVERS)]) for place, photo in enumerate(spread)]
