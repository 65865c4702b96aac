"""Retrieval metrics against the published code's numbers and against plain loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.evaluation.metrics.mates import NEVER, MateRanks
from faceflow.evaluation.metrics.retrieval import (
    ceiling,
    cmc,
    map_at_r,
    precision_at_1,
    r_precision,
    recall_at,
)


def ranks_of(rankings: list[list[bool]], extra: list[int] | None = None) -> MateRanks:
    """From whether each place of each ranking is right; ``extra`` raises R."""
    found = [[n for n, right in enumerate(row, start=1) if right] for row in rankings]
    more = extra or [0] * len(rankings)
    return MateRanks.collect(found, [len(f) + e for f, e in zip(found, more, strict=True)])


def test_equal_to_the_published_code(golden: Path) -> None:
    cases = json.loads((golden / "metrics.json").read_text())
    assert len(cases) == 40
    rankings = [
        [case["gallery_labels"][n] == case["query_label"] for n in case["ranking"]]
        for case in cases
    ]
    ranks = ranks_of(rankings)
    # The reference computes in float32.
    for metric, key in (
        (precision_at_1, "precision_at_1"),
        (r_precision, "r_precision"),
        (map_at_r, "map_at_r"),
    ):
        expected = [case[key] for case in cases]
        np.testing.assert_allclose(metric(ranks).astype(float), expected, rtol=1e-6)


rankings = st.lists(
    st.lists(st.booleans(), min_size=1, max_size=12).filter(any), min_size=1, max_size=8
)


@settings(deadline=None, max_examples=60)
@given(rankings, st.integers(0, 3), st.integers(1, 14))
def test_against_plain_loops(rows: list[list[bool]], extra: int, k: int) -> None:
    ranks = ranks_of(rows, [extra] * len(rows))
    for q, row in enumerate(rows):
        r = sum(row) + extra
        top = row[:r]
        precision = [sum(row[: i + 1]) / (i + 1) for i in range(len(top))]
        assert precision_at_1(ranks)[q] == row[0]
        assert r_precision(ranks)[q] == pytest.approx(sum(top) / r)
        assert map_at_r(ranks)[q] == pytest.approx(
            sum(p for p, right in zip(precision, top, strict=True) if right) / r
        )
        assert recall_at(ranks, k)[q] == any(row[:k])
        assert ceiling(ranks)[q] == pytest.approx(sum(row) / r)
        assert ranks.first[q] == row.index(True) + 1
    curve = cmc(ranks, k)
    assert curve == pytest.approx(
        [np.mean([any(row[:i]) for row in rows]) for i in range(1, k + 1)]
    )
    assert (np.diff(curve) >= 0).all()
    assert (map_at_r(ranks) <= r_precision(ranks) + 1e-12).all()
    assert (r_precision(ranks) <= ceiling(ranks) + 1e-12).all()


@settings(deadline=None, max_examples=60)
@given(rankings, st.data())
def test_selecting_queries_selects_their_values(
    rows: list[list[bool]], data: st.DataObject
) -> None:
    ranks = ranks_of(rows)
    size = len(rows)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    if not chosen.any():
        chosen[0] = True
    some = ranks.select(chosen)
    for metric in (precision_at_1, r_precision, map_at_r, ceiling):
        np.testing.assert_array_equal(metric(some), metric(ranks)[chosen])


def test_perfect_and_hopeless_retrieval() -> None:
    perfect = MateRanks.collect([[1, 2, 3], [1]], [3, 1])
    assert r_precision(perfect).tolist() == map_at_r(perfect).tolist() == [1, 1]
    hopeless = MateRanks.collect([[9, 8, 7], [5]], [3, 1])
    assert r_precision(hopeless).tolist() == map_at_r(hopeless).tolist() == [0, 0]
    assert cmc(hopeless, 5).tolist() == [0, 0, 0, 0, 0.5]


def test_the_published_rule_halves_a_perfect_pair() -> None:
    # Two photos, one the query: R counts both, only one can be found.
    ranks = MateRanks.collect([[1]], [2])
    assert r_precision(ranks).tolist() == ceiling(ranks).tolist() == [0.5]


def test_a_query_that_finds_nothing_ranks_never() -> None:
    ranks = MateRanks.collect([[], [4]], [1, 1])
    assert ranks.first.tolist() == [NEVER, 4]
    assert recall_at(ranks, 10**9).tolist() == [False, True]
    assert r_precision(ranks).tolist() == [0, 0]


def test_queries_without_a_mate_are_refused() -> None:
    ranks = MateRanks.collect([[], [1]], [0, 1])
    for metric in (precision_at_1, r_precision, map_at_r, ceiling):
        with pytest.raises(InputError, match="1 of 2 queries"):
            metric(ranks)
        assert metric(ranks.select(ranks.relevant > 0)).tolist() == [1]
        with pytest.raises(InputError, match="no query"):
            metric(MateRanks.collect([], []))
    with pytest.raises(InputError):
        cmc(ranks, 3)


@pytest.mark.parametrize(
    ("start", "ranks", "relevant"),
    [
        ([0, 2], [2, 2], [2]),  # a rank twice
        ([0, 2], [3, 2], [2]),
        ([0, 1], [0], [1]),
        ([0, 2], [1, 2], [1]),  # more found than relevant
        ([0, 1], [1, 2], [2]),  # a rank of nobody
        ([1, 2], [1, 2], [2]),
        ([0], [], [1]),
    ],
)
def test_impossible_ranks_are_refused(
    start: list[int], ranks: list[int], relevant: list[int]
) -> None:
    with pytest.raises(InputError):
        MateRanks(*(np.array(a, dtype=np.int64) for a in (start, ranks, relevant)))


def test_a_choice_must_be_one_truth_a_query() -> None:
    ranks = MateRanks.collect([[1], [2]], [1, 1])
    for chosen in (np.array([True]), np.array([0, 1])):
        with pytest.raises(InputError, match="2 truths"):
            ranks.select(chosen)


def test_ranks_begin_at_one() -> None:
    ranks = MateRanks.collect([[1]], [1])
    for call in (lambda: recall_at(ranks, 0), lambda: cmc(ranks, 0)):
        with pytest.raises(InputError):
            call()
