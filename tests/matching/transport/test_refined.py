"""int8 for all, float32 for the best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import unit
from faceflow.errors import InputError
from faceflow.matching.transport import RefinedSinkhorn, Sinkhorn, decode, encode

FIELDS = ("similarity", "iterations", "marginal_error", "status", "flow")


def make(seed: int, pairs: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(24)
    query = unit(common + rng.standard_normal((9, 24)))
    gallery = unit(common + rng.standard_normal((pairs, 9, 24)))
    return query, gallery, rng.uniform(size=(pairs, 9)), rng.uniform(size=(pairs, 9))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 15))
def test_the_best_equal_float32_and_the_rest_int8(seed: int, pairs: int, n: int) -> None:
    query, gallery, u, v = make(seed, pairs)
    plan = RefinedSinkhorn(n)(query, gallery, u, v, flow=True)
    fine = Sinkhorn()(query, gallery, u, v, flow=True)
    coarse = Sinkhorn(dtype="int8")(query, gallery, u, v, flow=True)
    assert plan.refined.sum() == min(n, pairs)
    for name in FIELDS:
        got = getattr(plan, name)
        np.testing.assert_array_equal(got[plan.refined], getattr(fine, name)[plan.refined])
        np.testing.assert_array_equal(got[~plan.refined], getattr(coarse, name)[~plan.refined])
    if 0 < n < pairs:
        assert coarse.similarity[plan.refined].min() >= coarse.similarity[~plan.refined].max()


def test_ranking_puts_refined_pairs_first() -> None:
    query, gallery, u, v = make(1, 40)
    plan = RefinedSinkhorn(10)(query, gallery, u, v)
    order = plan.ranking()
    assert sorted(order) == list(range(40))
    assert plan.refined[order[:10]].all()
    assert (np.diff(plan.similarity[order[:10]]) <= 0).all()
    assert (np.diff(plan.similarity[order[10:]]) <= 0).all()
    one = plan.pair(int(order[0]))
    assert one.refined[0]
    assert one.similarity[0] == plan.similarity[order[0]]


def test_refining_all_ranks_as_float32() -> None:
    query, gallery, u, v = make(2, 30)
    plan = RefinedSinkhorn(30)(query, gallery, u, v)
    expected = np.argsort(-Sinkhorn()(query, gallery, u, v).similarity, kind="stable")
    np.testing.assert_array_equal(plan.ranking(), expected)


@pytest.mark.parametrize("dtype", ["int8", "bf16"])
def test_stored_codes_are_decoded_for_the_fine_pass(dtype: str) -> None:
    query, gallery, u, v = make(3, 12)
    codes = encode(gallery, dtype)  # type: ignore[arg-type]
    plan = RefinedSinkhorn(4)(query, codes, u[0], v[0])
    fine = Sinkhorn()(query, decode(codes), u[0], v[0])
    np.testing.assert_array_equal(plan.similarity[plan.refined], fine.similarity[plan.refined])


def test_nan_is_refined_last_and_stays_nan() -> None:
    query, gallery, u, v = make(4, 6)
    gallery[2, 0, 0] = np.nan
    plan = RefinedSinkhorn(3)(query, gallery, u, v)
    assert np.isnan(plan.similarity[2])
    assert not plan.refined[2]
    assert plan.ranking()[-1] == 2


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(InputError, match="n is -1"):
        RefinedSinkhorn(-1)
