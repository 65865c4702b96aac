"""The fit against its own equations, and the area against counting pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from faceflow.cover_learning.cover_fit import area, fit_cover, judge, logistic, raw
from faceflow.features import FaceFeatures


def test_the_gradient_vanishes_at_the_solution() -> None:
    """Second way: the penalised likelihood, differentiated by hand in the scaled variables."""
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, (300, 6))
    y = x @ rng.standard_normal(6) + rng.normal(0, 4, 300) > 3
    ridge = 0.01
    weight, bias = logistic(x, y, ridge)
    p = 1 / (1 + np.exp(-(x @ weight + bias)))
    scale = x.std()
    slope = (x - x.mean(axis=0)).T @ (p - y) / scale + ridge * len(x) * weight * scale
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    assert abs((p - y).sum()) < 1e-3, "the bias is not penalised"


@pytest.mark.parametrize("covered", [0, 3, 100])
def test_a_place_of_one_kind_says_how_common_that_is(covered: int) -> None:
    y = np.arange(100) < covered
    weight, bias = logistic(np.random.default_rng(0).standard_normal((100, 4)), y, 0.01)
    assert not weight.any()
    assert 1 / (1 + np.exp(-bias)) == pytest.approx((covered + 0.5) / 101)


def test_the_model_tells_what_it_was_fitted_to() -> None:
    rng = np.random.default_rng(2)
    maps = rng.standard_normal((200, 5, 2, 3))
    hidden = rng.uniform(size=(200, 6)) < 0.4
    maps.reshape(200, 5, 6).transpose(0, 2, 1)[hidden] += 3.0
    faces = FaceFeatures.from_maps(rng.standard_normal((200, 7)), maps)
    rows = np.arange(200) < 120
    model = fit_cover(faces, hidden, rows)
    found = judge(model.covered(faces[80:]), hidden[80:])
    assert found.faces == 120
    assert found.auc.min() > 0.95
    assert found.right > 0.95
    for place in range(6):
        shown = raw(faces, place)[rows & ~hidden[:, place]]
        np.testing.assert_allclose(model.mean[place], shown.mean(axis=0), atol=1e-6)


def test_faces_that_were_not_to_be_seen_change_nothing() -> None:
    rng = np.random.default_rng(3)
    maps, hidden = rng.standard_normal((60, 3, 1, 2)), rng.uniform(size=(60, 2)) < 0.5
    embedding = rng.standard_normal((60, 4))
    rows = np.arange(60) % 2 == 0
    first = fit_cover(FaceFeatures.from_maps(embedding, maps), hidden, rows)
    maps[~rows] = 100 * rng.standard_normal((30, 3, 1, 2))
    hidden[~rows] ^= True
    second = fit_cover(FaceFeatures.from_maps(embedding, maps), hidden, rows)
    for name in ("weight", "bias", "mean"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(1)
    score, truth = rng.integers(0, 6, 40).astype(float), rng.uniform(size=40) < 0.4
    pairs = list(itertools.product(score[truth], score[~truth]))
    counted = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert area(score, truth) == pytest.approx(counted)
    assert np.isnan(area(score, np.ones(40, bool)))
