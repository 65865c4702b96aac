"""EMD over a whole gallery: what each method promises is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.gallery_ranking import GalleryRanking, emd_over_gallery
from faceflow.similarity import emd_similarity
from faceflow.transport import ExactEMD, RefinedSinkhorn, Sinkhorn
from faceflow.transport.native import WEIGHTINGS

Make = Callable[..., FaceFeatures]


def people(seed: int, n: int, grid: tuple[int, int] = (4, 4), c: int = 16) -> FaceFeatures:
    """n + 1 faces, the first being the query; some share its identity, some are copies."""
    rng = np.random.default_rng(seed)
    place = rng.standard_normal((c, *grid))
    who = rng.standard_normal((3, c, 1, 1))[rng.integers(3, size=n + 1)]
    maps = (
        place + who + rng.uniform(0, 1, (n + 1, 1, 1, 1)) * rng.standard_normal((n + 1, c, *grid))
    )
    copies = rng.integers(n + 1, size=(n // 4, 2))
    maps[copies[:, 0]] = maps[copies[:, 1]]
    return FaceFeatures.from_maps(np.ones((n + 1, 2)), maps)


def blocks(
    faces: FaceFeatures, ids: np.ndarray, size: int
) -> Iterator[tuple[np.ndarray, FaceFeatures]]:
    for start in range(0, len(faces), size):
        yield ids[start : start + size], faces[start : start + size]


def assert_same(a: GalleryRanking, b: GalleryRanking) -> None:
    np.testing.assert_array_equal(a.face_ids, b.face_ids)
    np.testing.assert_array_equal(a.similarity, b.similarity)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 90),
    st.integers(1, 40),
    st.sampled_from(list(WEIGHTINGS)),
    st.integers(1, 50),
    st.sampled_from([Sinkhorn(), Sinkhorn(dtype="int8"), Sinkhorn(0.005, 1e-6, 3)]),
)
def test_certified_and_full_cascade_equal_exhaustive(
    seed: int, n: int, k: int, weighting: str, size: int, solver: Sinkhorn
) -> None:
    faces = people(seed, n)
    ids = np.random.default_rng(seed).permutation(n) + 10

    def run(**options: object) -> GalleryRanking:
        return emd_over_gallery(
            faces[0],
            blocks(faces[1:], ids, size),
            k=k,
            weighting=weighting,
            solver=solver,
            **options,  # type: ignore[arg-type]
        )

    exhaustive = run()
    plan = emd_similarity(faces[0], faces[1:], weighting=weighting, solver=solver)
    order = np.lexsort((ids, -plan.similarity))[:k]
    np.testing.assert_array_equal(exhaustive.face_ids, ids[order])
    np.testing.assert_array_equal(exhaustive.similarity, plan.similarity[order])
    assert (exhaustive.solved, exhaustive.faces) == (n, n)

    certified = run(method="certified")
    assert_same(certified, exhaustive)
    assert certified.exact
    assert certified.faces == n

    whole = run(method="cascade", n=n + k, coarse_grid=(2, 2))
    assert_same(whole, exhaustive)
    assert whole.exact


def test_certified_prunes_what_cannot_win() -> None:
    """Strangers far below the mates are never solved."""
    rng = np.random.default_rng(0)
    mates = rng.standard_normal((1, 32, 4, 4)) + 0.1 * rng.standard_normal((21, 32, 4, 4))
    maps = np.concatenate([mates, rng.standard_normal((400, 32, 4, 4))])
    faces = FaceFeatures.from_maps(np.ones((421, 2)), maps)
    found = emd_over_gallery(
        faces[0], blocks(faces[1:], np.arange(420), 100), k=20, method="certified"
    )
    assert set(found.face_ids) == set(range(20))
    assert found.pruned == 420 - found.solved
    assert found.pruned > 300
    assert "proves" in found.exactness


def test_cascade_says_that_it_is_heuristic_and_fetches() -> None:
    faces = people(5, 80, (8, 8))
    ids = np.arange(80)
    kept = emd_over_gallery(
        faces[0], blocks(faces[1:], ids, 17), k=5, method="cascade", n=20, coarse_grid=(4, 4)
    )
    asked = []

    def fetch(wanted: np.ndarray) -> FaceFeatures:
        asked.append(wanted)
        return faces[1:][wanted]

    small = faces[1:].regrid((4, 4))
    fetched = emd_over_gallery(
        faces[0], blocks(small, ids, 33), k=5, method="cascade", n=20, fetch=fetch
    )
    assert_same(kept, fetched)
    assert [len(x) for x in asked] == [20]
    assert not kept.exact
    assert kept.exactness.startswith("heuristic: the best 20 of 80")
    assert (kept.solved, kept.coarse, kept.pruned) == (20, 80, 60)
    full = emd_similarity(faces[0], faces[1:][kept.face_ids])
    np.testing.assert_array_equal(kept.similarity, full.similarity)


def test_unconverged_solves_are_counted() -> None:
    faces = people(1, 30)
    solver = Sinkhorn(0.01, 1e-7, 2)
    found = emd_over_gallery(faces[0], [(np.arange(30), faces[1:])], solver=solver)
    assert found.unconverged > 0


def test_exhaustive_takes_any_solver_that_ignores_the_batch() -> None:
    pytest.importorskip("ot")
    faces = people(2, 12, (2, 2))
    found = emd_over_gallery(faces[0], [(np.arange(12), faces[1:])], k=3, solver=ExactEMD())
    plan = emd_similarity(faces[0], faces[1:], solver=ExactEMD())
    assert found.similarity[0] == plan.similarity.max()


@pytest.mark.parametrize("method", ["exhaustive", "certified", "cascade"])
def test_an_empty_gallery(method: str) -> None:
    faces = people(1, 3)
    for nothing in ([], [(np.arange(0), faces[:0])]):
        found = emd_over_gallery(faces[0], nothing, method=method)  # type: ignore[arg-type]
        assert (len(found.face_ids), found.faces, found.solved) == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k is 0"),
        ({"method": "magic"}, "no method 'magic'"),
        ({"method": "cascade", "n": 5, "k": 6}, "n is 5"),
        ({"method": "certified", "solver": ExactEMD()}, "no bound is known for ExactEMD"),
        ({"solver": RefinedSinkhorn()}, "refining solver"),
        ({"weighting": "colour"}, "colour"),
        ({"weighting": "colour", "method": "certified"}, "colour"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], words: str) -> None:
    faces = people(1, 3)
    with pytest.raises(InputError, match=words):
        emd_over_gallery(faces[0], [(np.arange(3), faces[1:])], **options)  # type: ignore[arg-type]


def test_bad_blocks_are_refused() -> None:
    faces = people(1, 3)
    with pytest.raises(InputError, match="one query"):
        emd_over_gallery(faces, [])
    with pytest.raises(InputError, match="do not go with 3 faces"):
        emd_over_gallery(faces[0], [(np.arange(2), faces[1:])])
    with pytest.raises(InputError, match="cannot give the full"):
        emd_over_gallery(faces[0], [(np.arange(3), faces[1:].regrid((2, 2)))], method="cascade")
