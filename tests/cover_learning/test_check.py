"""The check finds what helps, refuses what does not, and never looks at its own people."""

from __future__ import annotations

import numpy as np
import pytest

from faceflow.cover_learning.check import (
    LEAST_PEOPLE,
    Row,
    best_of,
    candidates,
    check,
    half_of,
    helps,
)
from faceflow.cover_learning.cover_fit import fit_cover
from faceflow.cover_learning.drawn_faces import KINDS, DrawnFaces
from faceflow.evaluation.metrics.significance import PairedTest, sign_test
from faceflow.features import FaceFeatures
from faceflow.matching.covers import CoverModel
from faceflow.networks import UNCALIBRATED

R, C, D = 16, 12, 24


def projection() -> np.ndarray:
    return np.random.default_rng(9).standard_normal((R, C, D)).astype(np.float32)


def make(
    people: int = 80,
    *,
    strength: float = 4.0,
    noise: float = 0.9,
    wide: int = 9,
    named: bool = True,
) -> DrawnFaces:
    """Faces whose covered patches hold one thing for everybody, ``strength`` times as loud."""
    rng = np.random.default_rng(0)
    cover = strength * rng.standard_normal(C)
    maps, hidden, photo, kind, person = [], [], [], [], []
    for who in range(people):
        own = rng.standard_normal((R, C))
        for first in (True, False):
            seen = own + noise * rng.standard_normal((R, C))
            for n in range(1 if first else len(KINDS)):
                covered = np.zeros(R, bool)
                if n:
                    covered[(5 * n) % R : (5 * n) % R + wide] = True
                blurred = seen.copy()
                blurred[covered] = cover + 0.3 * rng.standard_normal((covered.sum(), C))
                maps.append(blurred.T.reshape(C, 4, 4))
                hidden.append(covered)
                photo.append(2 * who + first)
                kind.append(n)
                person.append(who if named else -1)
    raw = np.stack(maps)
    embedding = np.einsum("ncr,rcd->nd", raw.reshape(len(raw), C, R), projection())
    return DrawnFaces(
        FaceFeatures.from_maps(embedding, raw),
        np.stack(hidden).astype(np.float32),
        np.array(photo),
        np.array(kind),
        np.array(person),
        (),
    )


def halves(faces: DrawnFaces) -> tuple[CoverModel, CoverModel]:
    half = half_of(faces)
    first, second = (fit_cover(faces.features, faces.hidden, half == n) for n in (0, 1))
    return first, second


def test_covers_that_fool_the_network_are_seen_through() -> None:
    faces = make()
    found = check(faces, projection(), halves(faces), base=UNCALIBRATED, base_model=None)
    assert found.by_people
    assert (found.gallery, found.people) == (80, 80)
    assert found.adopted
    assert found.chosen.patches == "projected"
    assert [row.kind for row in found.rows] == [*KINDS, "all"]
    masks, everything = found.rows[1], found.rows[-1]
    assert masks.with_ > masks.without + 0.2
    assert everything.searches == 320
    assert everything.with_ == pytest.approx(np.mean([row.with_ for row in found.rows[:-1]]))


def test_what_is_not_better_is_not_adopted() -> None:
    """Faces that are all found anyway: covers are small and hold hardly anything."""
    faces = make(strength=0.0, noise=0.2, wide=2)
    found = check(faces, projection(), halves(faces), base=UNCALIBRATED, base_model=None)
    assert found.rows[-1].without > 0.97
    assert not found.adopted


def test_every_kind_counts_the_same_however_few_its_searches_are() -> None:
    hits = np.zeros((3, 102), bool)
    hits[0, :6], hits[1, 100:] = True, True  # six of 100 against both of 2
    kind = np.array([0] * 100 + [1] * 2)
    assert best_of(hits, kind) == 1
    hits[2] = hits[1]
    assert best_of(hits, kind) == 1, "of equals the first"
    assert best_of(hits, np.zeros(102, int)) == 0


def test_clean_faces_must_not_pay() -> None:
    def row(kind: str, wins: int, losses: int) -> Row:
        test = PairedTest(wins, losses, 400 - wins - losses, sign_test(wins, losses))
        return Row(kind, 400, 0.5, 0.6, test)

    better = row("all", 40, 5)
    assert helps([row("clean", 0, 0), row("mask", 40, 5)], better)
    assert helps([row("clean", 1, 3)], better)
    assert not helps([row("clean", 0, 3)], better)
    assert not helps([row("clean", 0, 0)], row("all", 6, 2))
    assert not helps([row("clean", 0, 0)], row("all", 5, 40))


def test_each_half_is_judged_by_the_model_of_the_other() -> None:
    """A model that calls all covered blinds the half that it was not fitted on, and no other."""
    faces = make()
    first, second = halves(faces)
    wrong = CoverModel(np.zeros_like(first.weight), np.full(R, 30, np.float32), first.mean)
    honest = check(faces, projection(), (first, second), base=UNCALIBRATED, base_model=None)
    half = half_of(faces)
    swapped = check(faces, projection(), (wrong, second), base=UNCALIBRATED, base_model=None)
    assert swapped.rows[1].with_ < honest.rows[1].with_
    only = np.flatnonzero(half == 0)
    some = DrawnFaces(
        faces.features[only],
        faces.covered[only],
        faces.photo[only],
        faces.kind[only],
        faces.person[only],
        (),
    )
    # People of half 0 are seen by the second model: the first does not count at all.
    assert len(np.unique(some.person)) == LEAST_PEOPLE
    one = check(some, projection(), (wrong, second), base=UNCALIBRATED, base_model=None)
    two = check(some, projection(), (first, second), base=UNCALIBRATED, base_model=None)
    assert one.rows == two.rows


def test_without_names_photos_are_searched_for_under_another_cover() -> None:
    named = make(people=LEAST_PEOPLE - 1)
    few = check(named, projection(), halves(named), base=UNCALIBRATED, base_model=None)
    assert not few.by_people
    nobody = make(named=False)
    alone = np.flatnonzero(nobody.photo % 2 == 0)  # without their people's first photos
    nobody = DrawnFaces(
        nobody.features[alone],
        nobody.covered[alone],
        nobody.photo[alone],
        nobody.kind[alone],
        nobody.person[alone],
        (),
    )
    found = check(nobody, projection(), halves(nobody), base=UNCALIBRATED, base_model=None)
    assert (found.by_people, found.gallery) == (False, 80)
    assert [row.kind for row in found.rows] == ["clean", "mask", "sunglasses", "all"]
    assert found.chosen == candidates(linear=True, by_people=False)[0]


def test_networks_that_are_not_linear_get_visibility_alone() -> None:
    faces = make()
    none = np.zeros((R, C, 0), np.float32)
    found = check(faces, none, halves(faces), base=UNCALIBRATED, base_model=None)
    assert (found.chosen.patches, found.chosen.weighting) == ("raw", "uncovered")
    assert found.chosen.visible_share == 0
