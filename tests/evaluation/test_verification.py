"""Verification metrics against brute force over every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import Bools, Float64
from faceflow.errors import InputError
from faceflow.evaluation.metrics.pairs import (
    auc,
    best_accuracy,
    eer,
    fold_accuracy,
    roc,
    tar_at_far,
    threshold_for,
)

# Few distinct values, so that ties are common.
pairs = (
    st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30)
    .filter(lambda rows: len({same for _, same in rows}) == 2)
    .map(lambda rows: (np.array([s / 4 for s, _ in rows]), np.array([t for _, t in rows])))
)
Pairs = tuple[Float64, Bools]


def rates(scores: Float64, same: Bools, threshold: float) -> tuple[float, float]:
    accepted = scores >= threshold
    return float(accepted[~same].mean()), float(accepted[same].mean())


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_roc_is_every_operating_point(data: Pairs) -> None:
    scores, same = data
    curve = roc(scores, same)
    assert curve.thresholds.tolist() == [math.inf, *sorted(set(scores.tolist()), reverse=True)]
    for threshold, far, tar in zip(curve.thresholds, curve.far, curve.tar, strict=True):
        assert (far, tar) == pytest.approx(rates(scores, same, threshold))
    assert (curve.far[-1], curve.tar[-1]) == (1, 1)
    np.testing.assert_allclose(curve.frr, 1 - curve.tar)


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_auc_is_the_chance_of_the_right_order(data: Pairs) -> None:
    scores, same = data
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[same] for b in scores[~same]]
    assert auc(scores, same) == pytest.approx(np.mean(wins))


@settings(deadline=None, max_examples=60)
@given(pairs, st.floats(0, 1))
def test_tar_at_far_is_the_best_allowed_point(data: Pairs, far: float) -> None:
    scores, same = data
    negatives = int((~same).sum())
    if 0 < far < 1 / negatives:
        with pytest.raises(InputError, match="cannot be measured"):
            tar_at_far(scores, same, far)
        return
    point = tar_at_far(scores, same, far)
    assert point.far <= far + 1e-9
    assert (point.far, point.tar) == pytest.approx(rates(scores, same, point.threshold))
    allowed = [
        tar
        for t in [math.inf, *scores.tolist()]
        for f, tar in [rates(scores, same, t)]
        if f <= far + 1e-9
    ]
    assert point.tar >= max(allowed) - 1e-12


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_eer_lies_between_the_points_around_it(data: Pairs) -> None:
    scores, same = data
    value = eer(scores, same)
    points = [rates(scores, same, t) for t in [math.inf, *scores.tolist()]]
    # Along the curve the larger of FAR and FRR is never below the EER, by more than one step.
    assert min(max(far, 1 - tar) for far, tar in points) >= value - 1e-12
    assert max(min(far, 1 - tar) for far, tar in points) <= value + 1e-12


def test_eer_by_bisection() -> None:
    rng = np.random.default_rng(0)
    same = rng.random(4001) < 0.4
    scores = rng.standard_normal(4001) + 2 * same
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        far, tar = rates(scores, same, middle)
        low, high = (middle, high) if far > 1 - tar else (low, middle)
    far, tar = rates(scores, same, low)
    assert eer(scores, same) == pytest.approx((far + 1 - tar) / 2, abs=1e-3)
    assert eer(scores, same) == pytest.approx(0.1587, abs=0.02)  # two unit normals 2 apart


def test_eer_of_perfect_and_reversed_scores() -> None:
    same = np.array([True, True, False, False])
    assert eer(np.array([4.0, 3, 2, 1]), same) == 0
    assert eer(np.array([1.0, 2, 3, 4]), same) == 1
    assert eer(np.ones(4), same) == 0.5


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_best_accuracy_by_trying_all(data: Pairs) -> None:
    scores, same = data
    tried = [np.mean((scores >= t) == same) for t in [*scores.tolist(), math.inf]]
    assert best_accuracy(scores, same) == pytest.approx(max(tried))


@settings(deadline=None, max_examples=60)
@given(pairs, st.integers(2, 4))
def test_fold_accuracy_by_trying_all(data: Pairs, count: int) -> None:
    scores, same = data
    folds = np.arange(len(scores)) % count
    kinds = [same[folds != f] for f in np.unique(folds)]
    if len(kinds) < 2 or any(k.all() or not k.any() for k in kinds):
        with pytest.raises(InputError):
            fold_accuracy(scores, same, folds)
        return
    result = fold_accuracy(scores, same, folds)
    for n, fold in enumerate(np.unique(folds)):
        held = folds == fold
        train, truth = scores[~held], same[~held]

        def right(t: float, train: Float64 = train, truth: Bools = truth) -> int:
            return int(((train >= t) == truth).sum())

        # The threshold is as good on the other folds as any, and is applied to this one.
        assert right(result.thresholds[n]) == max(right(t) for t in [*train.tolist(), math.inf])
        assert result.accuracy[n] == pytest.approx(
            np.mean((scores[held] >= result.thresholds[n]) == same[held])
        )
    assert result.mean == pytest.approx(np.mean(result.accuracy))
    assert result.standard_error == pytest.approx(
        np.std(result.accuracy, ddof=1) / math.sqrt(len(result.accuracy))
    )


def test_fold_accuracy_never_looks_at_its_own_fold() -> None:
    rng = np.random.default_rng(1)
    scores, same = rng.standard_normal(600), rng.random(600) < 0.5
    folds = np.repeat(np.arange(10), 60)
    before = fold_accuracy(scores, same, folds).thresholds[3]
    scores[folds == 3] += 100
    assert fold_accuracy(scores, same, folds).thresholds[3] == before
    # Chance stays chance: labels are random, so optimism would show.
    assert fold_accuracy(rng.standard_normal(600), same, folds).mean < 0.56


def test_a_threshold_grid_takes_its_first_best() -> None:
    """insightface's rule: squared distances, thresholds 0 to 4 by 0.01, accept below."""
    rng = np.random.default_rng(2)
    same = np.tile(np.repeat([True, False], 30), 10)
    distance = np.clip(rng.normal(np.where(same, 1.2, 1.8), 0.3), 0, 4)
    folds = np.repeat(np.arange(10), 60)
    result = fold_accuracy(-distance, same, folds, thresholds=-np.arange(0, 4, 0.01))
    for fold in range(10):
        train = folds != fold
        best, at = -1.0, 0.0
        for t in np.arange(0, 4, 0.01):
            accuracy = np.mean((distance[train] <= t) == same[train])
            if accuracy > best:
                best, at = float(accuracy), float(t)
        assert result.thresholds[fold] == pytest.approx(-at)
        assert result.accuracy[fold] == np.mean((distance[~train] <= at) == same[~train])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=20), st.integers(0, 20))
def test_threshold_for_is_the_lowest_allowed(values: list[int], allowed: int) -> None:
    negatives = np.array(values, dtype=float)
    rate = min(1.0, allowed / len(values))
    threshold = threshold_for(negatives, rate)
    assert (negatives >= threshold).mean() <= rate
    below = negatives[negatives < threshold]
    if len(below):  # one score lower would already be too many
        assert (negatives >= below.max()).mean() > rate


def test_rates_that_round_badly() -> None:
    negatives = np.arange(100.0)
    assert (negatives >= threshold_for(negatives, 0.29)).sum() == 29  # 0.29 * 100 is 28.999...
    assert (negatives >= threshold_for(negatives, 0.07)).sum() == 7


@pytest.mark.parametrize("call", [roc, eer, auc, best_accuracy])
def test_bad_input_is_refused(call: object) -> None:
    assert callable(call)
    both = np.array([True, False])
    for scores, same in (
        (np.array([]), np.array([], dtype=bool)),
        (np.array([1.0, 2]), np.array([True, True])),
        (np.array([1.0, 2]), np.array([False, False])),
        (np.array([1.0, np.nan]), both),
        (np.array([1.0, np.inf]), both),
        (np.array([1.0]), both),
        (np.array([1.0, 2]), np.array([1, 0])),
    ):
        with pytest.raises(InputError):
            call(scores, same)


def test_bad_rates_and_folds_are_refused() -> None:
    scores, same = np.arange(4.0), np.array([True, False, True, False])
    for rate in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError):
            tar_at_far(scores, same, rate)
    with pytest.raises(InputError, match="at least 100 negatives"):
        tar_at_far(scores, same, 0.01)
    with pytest.raises(InputError, match="no negative"):
        threshold_for(np.array([]), 0.5)
    with pytest.raises(InputError, match="only one fold"):
        fold_accuracy(scores, same, np.zeros(4, dtype=np.int64))
    with pytest.raises(InputError):
        fold_accuracy(scores, same, np.zeros(3, dtype=np.int64))
