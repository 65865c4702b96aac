"""The bound is never below what a solver reports, whatever the features and options."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import unit
from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.similarity import emd_similarity
from faceflow.similarity_bound import similarity_bound
from faceflow.transport import ExactEMD, Sinkhorn, native
from faceflow.transport.codes import DTYPES
from faceflow.transport.native import WEIGHTINGS

Make = Callable[..., FaceFeatures]
BACKENDS = ["numpy", "native"] if native.available() else ["numpy"]
KINDS = ["random", "alike", "copies", "zeros", "opposite", "few", "tiny"]


def hostile(kind: str, seed: int, n: int, grid: tuple[int, int], c: int) -> FaceFeatures:
    """Features of n + 1 faces, the first being the query."""
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((n + 1, c, *grid))
    if kind == "alike":  # all patches nearly the same: weights are mostly rounding
        maps = rng.standard_normal((1, c, 1, 1)) + 1e-6 * maps
    elif kind == "copies":  # the query itself, patches shuffled: the bound is met
        order = rng.permutation(grid[0] * grid[1])
        maps[1:] = maps[:1].reshape(1, c, -1)[:, :, order].reshape(1, c, *grid)
        maps[1:] += rng.choice([0.0, 1e-4, 0.3], size=(n, 1, 1, 1)) * rng.standard_normal(
            maps[1:].shape
        )
    elif kind == "zeros":
        maps *= rng.uniform(size=(n + 1, 1, *grid)) > 0.5
    elif kind == "opposite":
        maps[1:] = -np.abs(maps[1:])
        maps[0] = np.abs(maps[0])
    elif kind == "few":  # one-hot patches: cosines are exactly 0 or 1
        maps = np.eye(c)[rng.integers(c, size=(n + 1, *grid))].transpose(0, 3, 1, 2)
    elif kind == "tiny":
        maps *= 10.0 ** rng.integers(-30, 5, size=(n + 1, 1, *grid))
    return FaceFeatures.from_maps(np.ones((n + 1, 2)), maps)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.sampled_from([(1, 1), (1, 2), (2, 3), (4, 4), (5, 7)]),
    st.sampled_from([1, 2, 5, 33]),
    st.sampled_from(list(WEIGHTINGS)),
    st.sampled_from(BACKENDS),
    st.sampled_from(DTYPES),
    st.sampled_from([1e-3, 0.01, 0.05, 1.0]),
    st.sampled_from([1, 2, 7, 100]),
    st.sampled_from([1e-6, 1e-3, 0.5]),
)
def test_no_similarity_exceeds_its_bound(
    seed: int,
    kind: str,
    grid: tuple[int, int],
    channels: int,
    weighting: str,
    backend: str,
    dtype: str,
    epsilon: float,
    cap: int,
    tolerance: float,
) -> None:
    faces = hostile(kind, seed, 5, grid, channels)
    solver = Sinkhorn(epsilon, tolerance, cap, backend, dtype)  # type: ignore[arg-type]
    plan = emd_similarity(faces[0], faces[1:], weighting=weighting, solver=solver)
    bound = similarity_bound(faces[0], faces[1:], weighting=weighting, solver=solver)
    assert (plan.similarity <= bound).all(), (plan, bound)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_that_are_mere_rounding_prune_nothing(backend: str) -> None:
    """Patches orthogonal to the other face's mean: how APC weighs them is up to rounding."""
    rng = np.random.default_rng(0)
    solver = Sinkhorn(backend=backend)  # type: ignore[arg-type]
    for _ in range(60):
        basis = np.linalg.qr(rng.standard_normal((33, 33)))[0]
        faces = FaceFeatures(
            np.ones((6, 2), dtype=np.float32),
            unit(rng.standard_normal((6, 3, 16)) @ basis[:16]),
            np.ones((6, 3), dtype=np.float32),
            np.repeat(basis[17:18], 6, axis=0).astype(np.float32),
            (1, 3),
        )
        plan = emd_similarity(faces[0], faces[1:], weighting="apc", solver=solver)
        bound = similarity_bound(faces[0], faces[1:], weighting="apc", solver=solver)
        assert (plan.similarity <= bound).all()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_exact_emd_does_not_exceed_it_either(weighting: str) -> None:
    pytest.importorskip("ot")
    for kind in KINDS:
        faces = hostile(kind, 3, 4, (3, 3), 8)
        plan = emd_similarity(faces[0], faces[1:], weighting=weighting, solver=ExactEMD())
        bound = similarity_bound(faces[0], faces[1:], weighting=weighting, solver=Sinkhorn())
        assert (plan.similarity <= bound).all(), kind


def test_the_bound_is_that_of_the_formula_and_a_little(random_features: Make) -> None:
    """By a second way: exact weights and float64 cosines; the slack is small on plain faces."""
    from faceflow.transport.problem import patch_cosine
    from faceflow.weighting import weigh

    query, gallery = random_features(1, seed=1), random_features(70, seed=2)
    for weighting in WEIGHTINGS:
        u, v = weigh(weighting, query, gallery)
        cosine = patch_cosine(query.patches[0], gallery.patches)
        plain = np.minimum((u * cosine.max(axis=2)).sum(1), (v * cosine.max(axis=1)).sum(1))
        slack = similarity_bound(query, gallery, weighting=weighting, solver=Sinkhorn()) - plain
        assert (slack > 0).all()
        assert slack.max() < 0.02


def test_it_ignores_the_batch_up_to_rounding(random_features: Make) -> None:
    query, gallery = random_features(1, seed=3), random_features(130, seed=4)
    whole = similarity_bound(query, gallery, weighting="apc", solver=Sinkhorn())
    for n in (0, 63, 64, 129):
        one = similarity_bound(query, gallery[n], weighting="apc", solver=Sinkhorn())
        np.testing.assert_allclose(one, whole[n], atol=1e-6)
    assert similarity_bound(query, gallery[:0], weighting="apc", solver=Sinkhorn()).shape == (0,)


def test_bad_questions_are_refused(random_features: Make) -> None:
    faces = random_features(3)
    ask = {"weighting": "apc", "solver": Sinkhorn()}
    with pytest.raises(InputError, match="one query"):
        similarity_bound(faces, faces, **ask)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="grid"):
        similarity_bound(faces[0], faces.regrid((4, 4)), **ask)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no bound for the weighting"):
        similarity_bound(faces[0], faces, weighting="colour", solver=Sinkhorn())
