"""Intervals and paired tests against theory, enumeration and SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import Int64
from faceflow.errors import InputError
from faceflow.evaluation.metrics.significance import (
    bootstrap,
    bootstrap_of,
    compare,
    compare_people,
    sign_test,
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(0, 60))
def test_sign_test_equals_scipy(wins: int, losses: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = 1.0 if wins + losses == 0 else stats.binomtest(wins, wins + losses).pvalue
    assert sign_test(wins, losses) == pytest.approx(expected, rel=1e-9)
    assert sign_test(wins, losses) == sign_test(losses, wins)


@pytest.mark.parametrize(("wins", "losses"), [(0, 5), (2, 6), (4, 4), (7, 1)])
def test_sign_test_by_enumeration(wins: int, losses: int) -> None:
    n = wins + losses
    extreme = sum(
        abs(sum(coins) - n / 2) >= abs(wins - n / 2)
        for coins in itertools.product((0, 1), repeat=n)
    )
    assert sign_test(wins, losses) == pytest.approx(extreme / 2**n)


def test_sign_test_of_many_does_not_overflow() -> None:
    assert 0 < sign_test(5000, 6000) < 1e-20
    assert sign_test(5000, 5000) == 1
    assert sign_test(0, 5000) == 0  # below the smallest float


def test_compare_counts_wins_and_losses() -> None:
    first = np.array([1, 1, 0, 0, 0], dtype=bool)
    second = np.array([1, 0, 1, 1, 0], dtype=bool)
    test = compare(first, second)
    assert (test.wins, test.losses, test.ties) == (2, 1, 2)
    assert test.p_value == 1
    values = compare(np.array([0.1, 0.5]), np.array([0.2, 0.5]))
    assert (values.wins, values.losses, values.ties) == (1, 0, 1)


def test_people_are_one_unit_each() -> None:
    # One person with 50 photos wins 50 queries: that is one person.
    people = np.array([7] * 50 + [1, 2, 3])
    first, second = np.zeros(53, dtype=bool), np.zeros(53, dtype=bool)
    second[:50] = True
    first[50] = True
    assert compare(first, second).p_value < 1e-9
    test = compare_people(first, second, people)
    assert (test.wins, test.losses, test.ties) == (1, 1, 2)
    assert test.p_value == 1


def test_people_whose_differences_cancel_are_ties() -> None:
    people = np.zeros(3, dtype=np.int64)
    first, second = np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.1, 0.2])
    assert compare_people(first, second, people).ties == 1


def test_bootstrap_of_independent_values_is_the_textbook_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(800)
    interval = bootstrap(values, np.arange(800), rounds=4000)
    half = 1.96 * values.std(ddof=1) / math.sqrt(800)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_bootstrap_follows_the_people_not_the_queries() -> None:
    rng = np.random.default_rng(1)
    mean = rng.random(40) < 0.7
    people = np.repeat(np.arange(40), 30)
    values = np.repeat(mean, 30)
    clustered = bootstrap(values, people)
    alone = bootstrap(values, np.arange(1200))
    # All 30 queries of a person agree, so there are 40 observations, not 1,200.
    wide, narrow = clustered.high - clustered.low, alone.high - alone.low
    assert wide / narrow == pytest.approx(math.sqrt(30), rel=0.15)
    assert clustered.people == 40


def test_bootstrap_by_enumerating_every_sample() -> None:
    people = np.array([5, 5, 9, 9, 9, 2])
    values = np.array([1.0, 0, 1, 1, 0, 0.5])
    rows = {p: np.flatnonzero(people == p) for p in (2, 5, 9)}
    means = [
        float(values[np.concatenate([rows[p] for p in sample])].mean())
        for sample in itertools.product(rows, repeat=3)
    ]
    for level in (0.5, 0.9):
        interval = bootstrap(values, people, rounds=40_000, level=level)
        tails = (1 - level) / 2
        low, high = np.quantile(means, [tails, 1 - tails], method="inverted_cdf")
        assert interval.low == pytest.approx(low, abs=1e-9)
        assert interval.high == pytest.approx(high, abs=1e-9)


def test_the_general_bootstrap_agrees_on_the_mean() -> None:
    rng = np.random.default_rng(2)
    people = rng.integers(0, 60, 300)
    values = rng.random(300) + people / 60
    fast = bootstrap(values, people, rounds=1500)
    general = bootstrap_of(lambda rows: float(values[rows].mean()), people, rounds=1500)
    assert general.estimate == pytest.approx(fast.estimate)
    assert general.low == pytest.approx(fast.low, abs=1e-9)  # the same samples, by the seed
    assert general.high == pytest.approx(fast.high, abs=1e-9)


def test_the_general_bootstrap_hands_out_whole_people() -> None:
    people = np.array([3, 1, 3, 2, 1, 3])
    seen: list[Int64] = []

    def statistic(rows: Int64) -> float:
        seen.append(rows)
        return float(len(rows))

    bootstrap_of(statistic, people, rounds=50)
    for rows in seen:
        counts = np.bincount(rows, minlength=6)
        for person in (1, 2, 3):
            assert len(set(counts[people == person])) == 1
    assert any((np.bincount(rows, minlength=6) == 0).any() for rows in seen)


@pytest.mark.parametrize("people", [1, 5, 100])
def test_all_right_is_no_certainty(people: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    right = np.ones(3 * people, dtype=bool)
    codes = np.repeat(np.arange(people), 3)
    interval = bootstrap(right, codes)
    exact = stats.binomtest(people, people).proportion_ci(0.95)
    assert (interval.low, interval.high) == pytest.approx((exact.low, 1))
    interval = bootstrap(~right, codes)
    assert (interval.low, interval.high) == pytest.approx((0, 1 - exact.low))


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(3)
    values, people = rng.random(50), np.arange(50)
    assert bootstrap(values, people) == bootstrap(values, people)
    assert bootstrap(values, people) != bootstrap(values, people, seed=1)


def test_blocks_of_samples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    values, people = rng.random(50), rng.integers(0, 9, 50)
    whole = bootstrap(values, people)
    monkeypatch.setattr("faceflow.evaluation.metrics.significance._CELLS", 20)
    assert bootstrap(values, people) == whole


def test_bad_input_is_refused() -> None:
    one = np.ones(3)
    codes = np.arange(3)
    for call in (
        lambda: bootstrap(np.array([]), np.array([], dtype=np.int64)),
        lambda: bootstrap(one, np.arange(2)),
        lambda: bootstrap(np.array([1, np.nan, 1]), codes),
        lambda: bootstrap(one, codes, rounds=0),
        lambda: bootstrap(one, codes, level=1.0),
        lambda: bootstrap_of(lambda rows: 0.0, np.array([], dtype=np.int64)),
        lambda: compare(one, np.ones(2)),
        lambda: compare(np.array([]), np.array([])),
        lambda: compare(one, np.array([1, 1, np.nan])),
        lambda: compare_people(one, one, np.arange(2)),
        lambda: sign_test(-1, 2),
    ):
        with pytest.raises(InputError):
            call()
