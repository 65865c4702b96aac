from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from faceflow.arrays import Float64
from faceflow.errors import InputError
from faceflow.explain import Explanation, explain_pair
from faceflow.explain.explanation import best_match, brightness, nearby
from faceflow.features import FaceFeatures, Grid
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import emd_similarity
from faceflow.matching.transport import ExactEMD, Sinkhorn, Status

Make = Callable[..., FaceFeatures]
GRIDS: list[Grid] = [(8, 8), (7, 6), (4, 4), (3, 3), (1, 1)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("weighting", ["uniform", "apc", "sc"])
def test_contributions_account_for_the_whole_similarity(
    random_features: Make, grid: Grid, weighting: str
) -> None:
    faces = random_features(5, grid=grid)
    many = emd_similarity(
        faces[0], faces[1:], weighting=weighting, solver=Sinkhorn(backend="numpy")
    )
    fast = emd_similarity(faces[0], faces[1:], weighting=weighting)
    for n in range(4):
        e = explain_pair(faces[0], faces[n + 1], MatchOptions(0.3, weighting))
        assert e.emd == many.similarity[n], "the float64 number, to the last bit"
        assert e.emd == pytest.approx(fast.similarity[n], abs=5e-6), "what identify shows"
        assert e.query_contributions.sum() == e.emd
        assert e.gallery_contributions.sum() == pytest.approx(e.emd, abs=1e-12)
        assert e.query_contributions == pytest.approx((e.flow * e.cosines).sum(axis=1))
        assert e.gallery_contributions == pytest.approx((e.flow * e.cosines).sum(axis=0))
        assert e.iterations == many.iterations[n]
        assert e.status is Status.CONVERGED


def test_score_is_the_sum_of_its_parts(random_features: Make) -> None:
    faces = random_features(2)
    e = explain_pair(faces[0], faces[1], MatchOptions(0.35, "apc"))
    assert sum(term.part for term in e.terms) == e.score
    assert e.terms[0].part == 0.35 * e.emd
    assert e.cosine == pytest.approx(float(faces.embedding[0] @ faces.embedding[1]), abs=1e-6)


def test_rows_are_the_query(random_features: Make) -> None:
    faces = random_features(2, grid=(4, 4))
    e = explain_pair(faces[0], faces[1], MatchOptions(0.3, "apc", solver=Sinkhorn(tolerance=1e-10)))
    assert not np.allclose(e.u, e.v, atol=1e-3)
    assert e.flow.sum(axis=1) == pytest.approx(e.u, abs=1e-9)
    assert e.flow.sum(axis=0) == pytest.approx(e.v, abs=1e-9)
    assert e.cosines[2, 7] == pytest.approx(float(faces.patches[0, 2] @ faces.patches[1, 7]))


@pytest.mark.parametrize("grid", [(8, 8), (7, 6), (3, 3)])
def test_a_shuffled_face_is_found_again(grid: Grid) -> None:
    """Gallery patch ``order[i]`` is the query's patch i, so that is where it must go."""
    count = grid[0] * grid[1]
    order = np.random.default_rng(4).permutation(count)
    assert (order[order] != np.arange(count)).any(), "its own inverse would hide a transposition"
    maps = np.eye(count).reshape(1, count, *grid)
    shuffled = np.zeros((count, count))
    shuffled[:, order] = np.eye(count)
    query = FaceFeatures.from_maps(np.ones((1, 4)), maps)
    gallery = FaceFeatures.from_maps(np.ones((1, 4)), shuffled.reshape(1, count, *grid))
    e = explain_pair(query, gallery, MatchOptions(0.5, "uniform"))
    assert e.best_match.tolist() == order.tolist()


def test_best_match_takes_the_first_of_equals_and_knows_empty_rows() -> None:
    flow = np.array([[0.1, 0.3, 0.3], [0.0, 0.0, 0.0], [0.0, 0.0, 0.3]])
    assert best_match(flow).tolist() == [1, -1, 2]


def test_brightness_is_equation_10() -> None:
    flow = np.array([[0.2, 0.1, 0.0], [0.0, 0.05, 0.01], [0.1, 0.02, 0.0]])
    # Strengths 0.2, 0.05, 0.1: (s - 0.05) / 0.15.
    assert brightness(flow) == pytest.approx([1, 0, 1 / 3])


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        (np.full((4, 4), 1 / 16), 1.0),
        (np.full((4, 4), 1 / 16) * (1 + 1e-12 * np.arange(4))[:, None], 1.0),
        (np.ones((1, 1)), 1.0),
        (np.zeros((4, 4)), 0.0),
    ],
    ids=["even", "even up to rounding", "one patch", "nothing moves"],
)
def test_brightness_without_a_strongest_cell(flow: Float64, expected: float) -> None:
    assert brightness(flow).tolist() == [expected] * len(flow)


@given(arrays(np.float64, (5, 5), elements=st.floats(0, 1, allow_subnormal=False)))
def test_brightness_spans_0_to_1_and_keeps_the_order(flow: Float64) -> None:
    light, strength = brightness(flow), flow.max(axis=1)
    assert light.min() >= 0
    assert light.max() <= 1
    assert light[strength.argmax()] == (1 if strength.max() > 0 else 0)
    assert (np.diff(light[np.argsort(strength)]) >= 0).all()


def test_nearby_mass(explained: Callable[..., Explanation]) -> None:
    assert nearby((4, 4)).sum(axis=1).reshape(4, 4).tolist() == [
        [4, 6, 6, 4],
        [6, 9, 9, 6],
        [6, 9, 9, 6],
        [4, 6, 6, 4],
    ]
    assert explained(flow=np.eye(16) / 16).nearby_mass == 1
    assert explained(flow=np.eye(16)[::-1] / 16).nearby_mass == 0.25
    assert explained(flow=np.zeros((16, 16)), status=Status.NO_MASS).nearby_mass == 0


def test_nothing_moves(explained: Callable[..., Explanation]) -> None:
    e = explained(flow=np.zeros((16, 16)), status=Status.NO_MASS)
    assert (e.emd, e.terms[0].part) == (0, 0)
    assert (e.best_match == -1).all()
    assert (e.brightness == 0).all()


def test_the_exact_solver_is_explained_too(random_features: Make) -> None:
    faces = random_features(2, grid=(4, 4))
    e = explain_pair(faces[0], faces[1], MatchOptions(0.3, "uniform", solver=ExactEMD()))
    plan = emd_similarity(faces[0], faces[1], weighting="uniform", solver=ExactEMD())
    assert e.emd == plan.similarity[0]
    assert e.solver["name"] == "ExactEMD"
    assert "epsilon" not in e.solver


def test_solver_options_are_kept(explained: Callable[..., Explanation]) -> None:
    e = explained()
    assert e.solver["name"] == "Sinkhorn"
    assert (e.solver["epsilon"], e.solver["tolerance"]) == (0.05, 1e-3)
    with pytest.raises(FrozenInstanceError):
        e.emd = 1.0  # type: ignore[misc]


def test_wrong_input(random_features: Make, explained: Callable[..., Explanation]) -> None:
    faces = random_features(3, grid=(4, 4))
    with pytest.raises(InputError, match="one face on each side, got 1 and 2"):
        explain_pair(faces[0], faces[1:], MatchOptions(0.3, "apc"))
    with pytest.raises(InputError, match=r"grid is \(4, 4\), the gallery's \(2, 2\)"):
        explain_pair(faces[0], faces[1].regrid((2, 2)), MatchOptions(0.3, "apc"))
    other = random_features(1, grid=(4, 4), size=64)
    with pytest.raises(InputError, match="different networks"):
        explain_pair(faces[0], other, MatchOptions(0.3, "apc"))
    with pytest.raises(InputError, match=r"alpha is 1\.5"):
        explain_pair(faces[0], faces[1], MatchOptions(1.5, "apc"))
    with pytest.raises(InputError, match="no weighting 'x'"):
        explain_pair(faces[0], faces[1], MatchOptions(0.5, "x"))
    with pytest.raises(InputError, match="no finite flow"):
        explained(flow=np.full((16, 16), np.nan), status=Status.INVALID)
