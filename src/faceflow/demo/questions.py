"""Covered photos put to the gallery: to set thresholds, and as the demo's queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from faceflow.arrays import UInt8
from faceflow.demo.material import COVERS, Query, as_jpeg, cover_photo
from faceflow.demo.results import DemoRow
from faceflow.errors import FaceflowError, ImageError, NoFaceError
from faceflow.explain.report import file_name, unused_name
from faceflow.gallery.enrolment import Photo
from faceflow.identifier import Identifier
from faceflow.system.files import atomic_write

Tell = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""
MOST_CALIBRATION = 36
"""At most this many enrolled photos are covered to set the thresholds."""
_PASSED = 0.9
"""Share of other people's covered photos that must stay below a threshold."""
_ON_PAGE = 3  # people on a query's page
_QUERY_SEED, _CALIBRATION_SEED = 1, 2


def thresholds_for(photos: Sequence[Photo], identifier: Identifier, tell: Tell) -> dict[str, float]:
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
                image = cover_photo(
                    photo, cover, identifier.analyzer.detector, seed=_CALIBRATION_SEED
                )
            except (ImageError, NoFaceError):
                continue
            taken.append((photo, cover))
            yield image

    scores: dict[str, list[float]] = defaultdict(list)
    answers = identifier.identify_many(covered(), select="largest")
    for place, (_, faces) in enumerate(answers):
        if isinstance(faces, FaceflowError):
            continue
        photo, cover = taken[place]
        others = [match.score for match in faces[0].people if match.person != photo.person]
        scores[cover] += others[:1]
    return {cover: float(np.quantile(found, _PASSED)) for cover, found in scores.items() if found}


def ask(
    queries: Sequence[Query],
    identifier: Identifier,
    place: Path,
    thresholds: dict[str, float],
    tell: Tell,
) -> list[DemoRow]:
    """Cover the photos that are not yet, save them, identify them and write the reasons.

    Args:
        queries: whom to ask about.
        identifier: with everyone enrolled.
        place: gets the covered photos in ``queries`` and the reasons in ``flows``.
        thresholds: from :func:`thresholds_for`.
        tell: told (done, all).
    """
    rows: list[DemoRow] = []
    taken: set[str] = set()
    for query in queries:
        name = unused_name(_query_name(query), taken)
        rows.append(_asked(name, query, identifier, place, thresholds.get(query.cover)))
        tell(len(rows), len(queries))
    return rows


def _asked(
    name: str, query: Query, identifier: Identifier, place: Path, threshold: float | None
) -> DemoRow:
    """One query, covered, identified and explained, as far as that goes."""
    photo = query.photo
    row = DemoRow(name, photo.path, None, query.cover, photo.person, query.enrolled)
    try:
        covered = photo.path if query.covered else _cover(query, name, identifier, place)
        row = replace(row, covered=covered)
        # From the file: `faceflow identify` on it must give the same answer.
        (face,) = identifier.identify(covered, select="largest", threshold=threshold)
    except (ImageError, NoFaceError) as error:
        return replace(row, error=error)
    reasons = replace(face.explain(top=_ON_PAGE), query=name)
    return replace(row, matches=face.matches, report=reasons.save_report(place / "flows", name))


def _cover(query: Query, name: str, identifier: Identifier, place: Path) -> Path:
    """Cover a photo and save it."""
    image = cover_photo(query.photo, query.cover, identifier.analyzer.detector, seed=_QUERY_SEED)
    path = place / "queries" / f"{name}.jpg"
    with atomic_write(path) as file:
        file.write(as_jpeg(image))
    return path


def _query_name(query: Query) -> str:
    """The photo's own name, with the person's where that does not hold it."""
    stem, person = query.photo.path.stem, query.photo.person
    if query.covered:
        return stem
    return f"{file_name(stem if stem.startswith(person) else f'{person} {stem}')}-{query.cover}"


def _spread(photos: Sequence[Photo]) -> list[tuple[Photo, str]]:
    """Photos to set thresholds on: of as many people as possible, the covers in turn."""
    seen: dict[str, int] = defaultdict(int)
    rounds: dict[int, list[Photo]] = defaultdict(list)
    for photo in photos:
        rounds[seen[photo.person]].append(photo)
        seen[photo.person] += 1
    spread = [photo for number in sorted(rounds) for photo in rounds[number]][:MOST_CALIBRATION]
    return [(photo, COVERS[place % len(COVERS)]) for place, photo in enumerate(spread)]
