from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.similarity import emd_similarity, mix
from faceflow.transport.native import WEIGHTINGS
from faceflow.weighting import weigh

Make = Callable[..., FaceFeatures]


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weights_are_a_distribution_and_ignore_the_batch(name: str, random_features: Make) -> None:
    query, gallery = random_features(1, seed=1), random_features(7, seed=2)
    u, v = weigh(name, query, gallery)
    assert (u >= 0).all()
    assert (v >= 0).all()
    np.testing.assert_allclose(u.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(v.sum(axis=1), 1, atol=1e-5)
    for n in range(7):
        u_one, v_one = weigh(name, query, gallery[n])
        np.testing.assert_array_equal(u_one[0], u[n])
        np.testing.assert_array_equal(v_one[0], v[n])


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_swapping_the_faces_swaps_the_weights(name: str, random_features: Make) -> None:
    a, b = random_features(1, seed=1), random_features(1, seed=2)
    u, v = weigh(name, a, b)
    v_swapped, u_swapped = weigh(name, b, a)
    np.testing.assert_allclose(u, u_swapped, atol=1e-7)
    np.testing.assert_allclose(v, v_swapped, atol=1e-7)


def test_apc_and_sc_by_hand() -> None:
    """Two patches in two channels, worked out on paper."""
    query = FaceFeatures.from_maps(np.ones((1, 2)), np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]))
    gallery = FaceFeatures.from_maps(np.ones((1, 2)), np.array([[[[3.0, 0.0]], [[0.0, -1.0]]]]))
    # Query patches (1,0), (0,1); gallery patches (1,0), (0,-1); gallery mean (3,-1)/2.
    u, v = weigh("apc", query, gallery)
    np.testing.assert_allclose(u, [[1, 0]], atol=1e-6)
    np.testing.assert_allclose(v, [[1, 0]], atol=1e-6)
    # 1 - cosine: [[0, 1], [1, 2]].
    u, v = weigh("sc", query, gallery)
    np.testing.assert_allclose(u, [[1 / 4, 3 / 4]], atol=1e-6)
    np.testing.assert_allclose(v, [[1 / 4, 3 / 4]], atol=1e-6)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_side_without_weight_becomes_uniform(name: str) -> None:
    same = FaceFeatures.from_maps(np.ones((1, 2)), np.ones((1, 3, 2, 2)))
    u, v = weigh(name, same, same)
    np.testing.assert_allclose(u, 0.25)
    np.testing.assert_allclose(v, 0.25)
    assert emd_similarity(same, same, weighting=name).similarity[0] == pytest.approx(1, abs=1e-6)


def test_an_unknown_weighting_lists_the_known(random_features: Make) -> None:
    face = random_features(1)
    with pytest.raises(InputError, match="uniform, apc, sc"):
        weigh("acp", face, face)
    with pytest.raises(InputError, match="one query"):
        weigh("apc", random_features(2), face)


def test_two_grids_are_refused(random_features: Make) -> None:
    with pytest.raises(InputError, match="regrid"):
        emd_similarity(random_features(1), random_features(1, grid=(4, 4)))


@settings(max_examples=30)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1))
def test_mix_lies_between_its_parts(emd: float, cosine: float, alpha: float) -> None:
    score = float(mix(np.array(emd), np.array(cosine), alpha))
    assert min(emd, cosine) - 1e-12 <= score <= max(emd, cosine) + 1e-12


@pytest.mark.parametrize("alpha", [-1, 1.01, float("nan")])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha"):
        mix(np.ones(1), np.ones(1), alpha)
