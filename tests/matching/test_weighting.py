from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import combine, emd_similarity
from faceflow.matching.weighting import WEIGHTINGS, weigh
from faceflow.networks.spec import WEIGHTING_NAMES

Make = Callable[..., FaceFeatures]


@pytest.fixture
def faces(random_features: Make) -> Make:
    """Features that every rule can weigh: C = D, landmarks, and what each patch shows."""

    def make(n: int, seed: int) -> FaceFeatures:
        features = random_features(n, seed=seed, size=128, landmarks=True)
        shown = np.random.default_rng(seed).uniform(0, 1, (n, 64)).astype(np.float32)
        return replace(features, visibility=shown)

    return make


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weights_are_a_distribution_and_ignore_the_batch(name: str, faces: Make) -> None:
    query, gallery = faces(1, 1), faces(7, 2)
    u, v = weigh(name, query, gallery)
    assert u.shape == v.shape == (7, 64)
    assert (u >= 0).all()
    assert (v >= 0).all()
    np.testing.assert_allclose(u.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(v.sum(axis=1), 1, atol=1e-5)
    for n in range(7):
        u_one, v_one = weigh(name, query, gallery[n])
        np.testing.assert_array_equal(u_one[0], u[n])
        np.testing.assert_array_equal(v_one[0], v[n])


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_swapping_the_faces_swaps_the_weights(name: str, faces: Make) -> None:
    a, b = faces(1, 1), faces(1, 2)
    u, v = weigh(name, a, b)
    v_swapped, u_swapped = weigh(name, b, a)
    np.testing.assert_allclose(u, u_swapped, atol=1e-7)
    np.testing.assert_allclose(v, v_swapped, atol=1e-7)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_an_empty_gallery_gets_no_weights(name: str, faces: Make) -> None:
    u, v = weigh(name, faces(1, 1), faces(2, 2)[:0])
    assert u.shape == v.shape == (0, 64)


def _relu_share(values: list[float]) -> list[float]:
    positive = [max(value, 0.0) for value in values]
    return [value / sum(positive) for value in positive]


def test_each_rule_against_a_plain_loop(faces: Make) -> None:
    """A second way: one patch at a time, in float64 Python."""
    query, gallery = faces(1, 3), faces(2, 4)
    q = query.patches[0].astype(float)
    for n in range(2):
        g = gallery.patches[n].astype(float)
        s = [[float(np.dot(q[i], g[j])) for j in range(64)] for i in range(64)]
        middle = gallery.pooled[n].astype(float)
        other = gallery.embedding[n].astype(float)
        expected = {
            "uniform": [1 / 64] * 64,
            "apc": _relu_share([float(np.dot(q[i], middle)) for i in range(64)]),
            "cc": _relu_share([float(np.dot(q[i], other)) for i in range(64)]),
            "sc": _relu_share([sum(1 - x for x in s[i]) for i in range(64)]),
            "lmk": query.landmark_share[0].tolist(),
            "norm": _relu_share([float(np.linalg.norm(p)) for p in query.raw_patches[0]]),
            "uncovered": _relu_share(
                [query.visibility[0, i] * gallery.visibility[n, i] for i in range(64)]
            ),
        }
        assert expected.keys() == WEIGHTINGS.keys()
        for name, share in expected.items():
            np.testing.assert_allclose(weigh(name, query, gallery)[0][n], share, atol=1e-6)


def test_cc_needs_patches_as_long_as_embeddings(random_features: Make) -> None:
    with pytest.raises(InputError, match=r"128 numbers with embeddings of 256.*use apc"):
        weigh("cc", random_features(1), random_features(3))


def test_lmk_needs_landmarks_and_a_face_without_any_is_uniform(random_features: Make) -> None:
    bare, known = random_features(1), random_features(2, landmarks=True)
    with pytest.raises(InputError, match=r"query features hold none.*enroll"):
        weigh("lmk", bare, known)
    with pytest.raises(InputError, match=r"gallery features hold none"):
        weigh("lmk", known[0], bare)
    whole = bare.with_landmarks(np.zeros((1, 64), np.float32))
    u, v = weigh("lmk", whole, known)
    np.testing.assert_allclose(u, 1 / 64)
    np.testing.assert_array_equal(v, known.landmark_share)


def test_lmk_survives_pooling_selecting_and_stacking(random_features: Make) -> None:
    known = random_features(3, landmarks=True)
    assert known.landmark_share is not None
    coarse = known.regrid((4, 4)).landmark_share
    assert coarse is not None
    assert coarse[2, 5] == pytest.approx(
        sum(known.landmark_share[2, 8 * (2 + a) + 2 + b] for a in (0, 1) for b in (0, 1))
    )
    again = FaceFeatures.concatenate(list(known))
    np.testing.assert_array_equal(again.landmark_share, known.landmark_share)
    assert FaceFeatures.concatenate([known, random_features(1)]).landmark_share is None


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
    same = FaceFeatures.from_maps(np.ones((1, 3)), np.ones((1, 3, 2, 2)))
    nothing = np.zeros((1, 4), np.float32)
    same = replace(same, landmark_share=nothing, visibility=nothing)
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
    score = float(combine(np.array(cosine), np.array(emd), None, alpha=alpha, visible_share=0.0))
    assert min(emd, cosine) - 1e-12 <= score <= max(emd, cosine) + 1e-12


@pytest.mark.parametrize("alpha", [-1, 1.01, float("nan")])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha"):
        MatchOptions(alpha, "apc")


def test_networks_may_name_every_weighting_and_no_other() -> None:
    assert tuple(WEIGHTINGS) == WEIGHTING_NAMES
