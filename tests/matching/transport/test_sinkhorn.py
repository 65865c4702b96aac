"""Invariants of the Sinkhorn solver, each checked on random and on hostile input."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import unit
from faceflow.errors import InputError
from faceflow.matching.transport import ExactEMD, Sinkhorn, Status, published_sinkhorn

oracle = partial(Sinkhorn, backend="numpy")

problems = st.tuples(
    st.integers(0, 2**32 - 1),  # seed
    st.integers(0, 5),  # N
    st.integers(1, 12),  # R
    st.integers(1, 12),  # S
    st.integers(1, 9),  # C
)


def make(
    seed: int, n: int, r: int, s: int, c: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A random problem with some zero weights, some equal patches, some near-duplicates."""
    rng = np.random.default_rng(seed)
    query = unit(rng.standard_normal((r, c)))
    gallery = unit(rng.standard_normal((n, s, c)))
    if n and seed % 3 == 0:
        gallery[0, :] = unit(query[0] + 1e-6 * rng.standard_normal(c))
    u = rng.uniform(size=(n, r)) * (rng.uniform(size=(n, r)) < 0.7)
    v = rng.uniform(size=(n, s)) * (rng.uniform(size=(n, s)) < 0.7)
    return query, gallery, u, v


@settings(max_examples=150, deadline=None)
@given(problems, st.sampled_from([1e-3, 0.01, 0.05, 1.0, 100.0]))
def test_flow_has_the_marginals_and_the_similarity(
    problem: tuple[int, int, int, int, int], epsilon: float
) -> None:
    query, gallery, u, v = make(*problem)
    plan = oracle(epsilon=epsilon, max_iterations=300)(query, gallery, u, v, flow=True)
    assert plan.flow is not None
    assert plan.flow.shape == (len(gallery), len(query), gallery.shape[1])
    for n in range(len(gallery)):
        if not u[n].any() or not v[n].any():
            assert plan.status[n] == Status.NO_MASS
            assert plan.similarity[n] == 0
            assert not plan.flow[n].any()
            continue
        flow = plan.flow[n]
        assert (flow >= 0).all()
        np.testing.assert_allclose(flow.sum(axis=0), v[n] / v[n].sum(), atol=1e-9)
        off = np.abs(flow.sum(axis=1) - u[n] / u[n].sum()).sum()
        assert off == pytest.approx(plan.marginal_error[n], abs=1e-9)
        assert (off < 1e-3) == (plan.status[n] == Status.CONVERGED)
        assert not flow[u[n] == 0].any()
        assert not flow[:, v[n] == 0].any()
        cosine = query.astype(float) @ gallery[n].astype(float).T
        assert plan.similarity[n] == pytest.approx((flow * cosine).sum(), abs=1e-9)
        assert abs(plan.similarity[n]) <= 1 + 1e-6


@settings(max_examples=60, deadline=None)
@given(problems)
def test_a_batch_equals_its_loop_to_the_last_bit(problem: tuple[int, int, int, int, int]) -> None:
    query, gallery, u, v = make(*problem)
    batch = oracle()(query, gallery, u, v, flow=True)
    assert batch.flow is not None
    for n in range(len(gallery)):
        one = oracle()(query, gallery[n : n + 1], u[n : n + 1], v[n : n + 1], flow=True)
        assert one.flow is not None
        assert one.similarity[0] == batch.similarity[n]
        assert one.iterations[0] == batch.iterations[n]
        np.testing.assert_array_equal(one.flow[0], batch.flow[n])


@settings(max_examples=40, deadline=None)
@given(problems)
def test_small_epsilon_approaches_the_exact_emd(problem: tuple[int, int, int, int, int]) -> None:
    pytest.importorskip("ot", reason="the exact solver needs the extra 'exact' (POT)")
    query, gallery, u, v = make(*problem)
    exact = ExactEMD()(query, gallery, u, v)
    near = oracle(epsilon=2e-3, tolerance=1e-7, max_iterations=20_000)(query, gallery, u, v)
    solved = near.status == Status.CONVERGED
    # Entropic bias is at most epsilon * log(R * S); the regularised plan is never better.
    bias = 2e-3 * np.log(max(len(query) * gallery.shape[1], 2))
    assert (near.similarity[solved] <= exact.similarity[solved] + 1e-6).all()
    assert (near.similarity[solved] >= exact.similarity[solved] - bias - 1e-6).all()
    np.testing.assert_array_equal(near.status == Status.NO_MASS, exact.status == Status.NO_MASS)


def test_log_domain_and_plain_iteration_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, u, v = make(1, 5, 10, 8, 6)
    solver = oracle(epsilon=0.02, tolerance=1e-9, max_iterations=5000)
    plain = solver(query, gallery, u, v)
    monkeypatch.setattr("faceflow.matching.transport.numpy_sinkhorn.EXP_RANGE", -1.0)
    logs = solver(query, gallery, u, v)
    np.testing.assert_allclose(plain.similarity, logs.similarity, atol=1e-12)
    np.testing.assert_array_equal(plain.iterations, logs.iterations)


def test_identical_faces_score_one_as_epsilon_shrinks() -> None:
    patches = np.eye(6, dtype=np.float32)
    weights = np.full(6, 1 / 6)
    plan = oracle(epsilon=1e-3)(patches, patches[None], weights, weights)
    assert plan.similarity[0] == pytest.approx(1.0, abs=1e-12)


def test_one_hot_weights_pick_one_cosine() -> None:
    query, gallery, _, _ = make(5, 1, 4, 3, 8)
    u, v = np.eye(4)[2], np.eye(3)[1]
    plan = oracle()(query, gallery, u, v)
    assert plan.similarity[0] == pytest.approx(float(query[2] @ gallery[0, 1]), abs=1e-6)


def test_single_patch_is_its_cosine() -> None:
    query, gallery, _, _ = make(7, 4, 1, 1, 8)
    plan = oracle()(query, gallery, np.ones(1), np.ones(1))
    np.testing.assert_allclose(plan.similarity, gallery[:, 0] @ query[0], atol=1e-6)
    assert (plan.status == Status.CONVERGED).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["patch", "weight"])
def test_nan_and_infinity_mark_their_own_pair_only(bad: float, where: str) -> None:
    query, gallery, _, _ = make(2, 3, 4, 4, 8)
    u = v = np.ones((3, 4))
    clean = oracle()(query, gallery, u, v)
    spoilt_gallery, spoilt_v = gallery.copy(), v.copy()
    if where == "patch":
        spoilt_gallery[1, 2, 0] = bad
    else:
        spoilt_v[1, 2] = bad
    plan = oracle()(query, spoilt_gallery, u, spoilt_v, flow=True)
    assert plan.status.tolist() == [Status.CONVERGED, Status.INVALID, Status.CONVERGED]
    assert np.isnan(plan.similarity[1])
    np.testing.assert_array_equal(plan.similarity[[0, 2]], clean.similarity[[0, 2]])


def test_denormal_weights_are_weights() -> None:
    query, gallery, _, _ = make(4, 1, 3, 3, 8)
    tiny = np.full((1, 3), 5e-324)
    plan = oracle()(query, gallery, tiny, tiny)
    equal = oracle()(query, gallery, np.ones(3), np.ones(3))
    assert plan.similarity[0] == equal.similarity[0]


def test_iteration_cap_is_reported() -> None:
    query, gallery, u, v = make(1, 5, 10, 8, 6)
    plan = oracle(epsilon=0.01, tolerance=1e-12, max_iterations=2)(query, gallery, u, v)
    assert (plan.iterations == 2).all()
    assert (plan.status == Status.MAX_ITERATIONS).all()


def test_no_pairs_is_an_empty_plan() -> None:
    query, gallery, u, v = make(1, 0, 3, 4, 5)
    plan = oracle()(query, gallery, u, v, flow=True)
    assert len(plan) == 0
    assert plan.flow is not None
    assert plan.flow.shape == (0, 3, 4)
    assert len(published_sinkhorn(query, gallery, u, v)) == 0


def test_published_solver_scores_a_pair_without_mass_zero() -> None:
    query, gallery, _, _ = make(3, 2, 4, 4, 8)
    u = np.array([[0.25] * 4, [0.0] * 4])
    plan = published_sinkhorn(query, gallery, u, np.full((2, 4), 0.25))
    assert plan.similarity[1] == 0
    assert plan.status[1] == Status.NO_MASS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": np.array([0.5, -0.5, 1.0])}, r"u\[0, 1\] is negative"),
        ({"u": np.ones(4)}, r"u have shape \(4,\)"),
        ({"v": np.ones((2, 3))}, r"v have shape \(2, 3\)"),
        ({"query_patches": np.ones((3, 7))}, "do not go with"),
        ({"query_patches": np.ones((0, 5)), "u": np.ones(0)}, "at least 1"),
    ],
)
def test_bad_problems_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    problem = {
        "query_patches": np.ones((3, 5)),
        "gallery_patches": np.ones((1, 3, 5)),
        "u": np.ones(3),
        "v": np.ones(3),
    }
    with pytest.raises(InputError, match=message):
        oracle()(**(problem | change))


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": 0},
        {"epsilon": float("nan")},
        {"tolerance": 0},
        {"max_iterations": 0},
        {"backend": "cuda"},
    ],
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        oracle(**options)  # type: ignore[arg-type]
