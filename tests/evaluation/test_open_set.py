"""Open-set rates against their definitions, search by search."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.evaluation.metrics.mates import NEVER
from faceflow.evaluation.metrics.open_set import Searches, at_threshold, det, tpir_at_fpir

Row = tuple[bool, int, int | None, int]


def build(rows: list[Row]) -> Searches:
    """(mated, top score, mate's score or None, mate's rank)"""
    return Searches(
        mated=np.array([row[0] for row in rows]),
        top=np.array([float(row[1]) for row in rows]),
        mate=np.array([-math.inf if row[2] is None else float(row[2]) for row in rows]),
        rank=np.array([NEVER if row[2] is None else row[3] for row in rows]),
    )


row = st.tuples(
    st.booleans(),
    st.integers(-3, 3),
    st.one_of(st.none(), st.integers(-3, 3)),
    st.integers(1, 5),
)
searches = st.lists(row, min_size=2, max_size=25).filter(
    lambda rows: len({r[0] for r in rows}) == 2
)


def by_definition(rows: list[Row], threshold: float, within: int) -> tuple[float, float]:
    alarms = [top >= threshold for mated, top, _, _ in rows if not mated]
    misses = [
        mate is None or mate < threshold or rank > within for mated, _, mate, rank in rows if mated
    ]
    return float(np.mean(alarms)), float(np.mean(misses))


@settings(deadline=None, max_examples=60)
@given(searches, st.floats(-4, 4), st.integers(1, 6))
def test_rates_at_a_threshold(rows: list[Row], threshold: float, within: int) -> None:
    point = at_threshold(build(rows), threshold, within=within)
    assert (point.fpir, point.fnir) == pytest.approx(by_definition(rows, threshold, within))
    assert point.tpir == pytest.approx(1 - point.fnir)
    assert (point.mated, point.nonmated) == (sum(r[0] for r in rows), sum(not r[0] for r in rows))


@settings(deadline=None, max_examples=60)
@given(searches, st.integers(0, 12), st.integers(1, 6))
def test_tpir_at_fpir_is_the_best_allowed(rows: list[Row], allowed: int, within: int) -> None:
    nonmated = sum(not r[0] for r in rows)
    target = min(1.0, allowed / nonmated)
    point = tpir_at_fpir(build(rows), target, within=within)
    assert point.fpir <= target
    for threshold in [math.inf, -math.inf, *(float(t) for r in rows for t in (r[1], r[2] or 0))]:
        fpir, fnir = by_definition(rows, threshold, within)
        if fpir <= target:
            assert point.tpir >= 1 - fnir - 1e-12


@settings(deadline=None, max_examples=60)
@given(searches, st.integers(1, 6))
def test_det_runs_through_every_point(rows: list[Row], within: int) -> None:
    curve = det(build(rows), within=within)
    for threshold, fpir, fnir in zip(curve.thresholds, curve.fpir, curve.fnir, strict=True):
        assert (fpir, fnir) == pytest.approx(by_definition(rows, threshold, within))
    assert (np.diff(curve.thresholds) < 0).all()
    assert (np.diff(curve.fpir) >= 0).all()
    assert (np.diff(curve.fnir) <= 0).all()
    assert curve.fpir[-1] == 1  # every non-mated top score is among the thresholds


@settings(deadline=None, max_examples=60)
@given(searches, st.randoms())
def test_the_order_of_searches_does_not_matter(rows: list[Row], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert at_threshold(build(rows), 0.0) == at_threshold(build(shuffled), 0.0)


def test_a_bootstrap_sample_repeats_searches() -> None:
    some = build([(True, 2, 2, 1), (False, 1, None, 1)])
    again = some.select(np.array([0, 0, 1]))
    assert at_threshold(again, 1.5).mated == 2


def test_one_kind_of_search_is_refused() -> None:
    for mated in (True, False):
        with pytest.raises(InputError, match="searches of both kinds"):
            build([(mated, 1, 1, 1), (mated, 2, 1, 1)])


def test_too_few_nonmated_searches_are_refused() -> None:
    rows: list[Row] = [(True, 1, 1, 1)] + [(False, n % 3, None, 1) for n in range(50)]
    with pytest.raises(InputError, match="at least 1,000 negatives"):
        tpir_at_fpir(build(rows), 0.001)


def test_impossible_searches_are_refused() -> None:
    both, rank = np.array([True, False]), np.array([1, NEVER])
    good = np.array([1.0, -math.inf])
    for top, mate, ranks in (
        (np.array([math.nan, 1]), good, rank),
        (np.array([math.inf, 1]), good, rank),
        (np.ones(2), np.array([math.nan, -math.inf]), rank),
        (np.ones(2), np.ones(2), rank),
        (np.ones(2), good, np.array([1, 2])),
    ):
        with pytest.raises(InputError):
            Searches(both, top, mate, ranks)
    with pytest.raises(InputError, match="ranks begin at 1"):
        at_threshold(Searches(both, np.ones(2), good, rank), 0.0, within=0)


def test_a_search_that_returns_nothing_is_no_alarm() -> None:
    some = Searches(
        np.array([True, False]),
        np.array([1.0, -math.inf]),
        np.array([1.0, -math.inf]),
        np.array([1, NEVER]),
    )
    assert at_threshold(some, -5.0).fpir == 0
