"""Transport by PyTorch is the NumPy oracle's, pair by pair; the CPU stands in for a device."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import unit
from faceflow.errors import DeviceError, InputError, MissingExtraError
from faceflow.matching.transport import Plan, Sinkhorn, Status, encode
from faceflow.matching.transport.codes import DTYPES

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")

from faceflow.matching.transport.device.faces import DeviceFaces  # noqa: E402
from faceflow.matching.transport.device.pairs import Pairs, Settings  # noqa: E402
from faceflow.matching.transport.device.products import products  # noqa: E402
from faceflow.matching.transport.device.sinkhorn import total  # noqa: E402
from faceflow.matching.transport.device.solve import solve  # noqa: E402

torch.set_num_threads(1)  # several cost more than they save on problems this small

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

problems = st.tuples(
    st.integers(0, 2**32 - 1),  # seed
    st.integers(0, 5),  # N
    st.integers(1, 12),  # R
    st.integers(1, 12),  # S
    st.integers(1, 9),  # C
)


def make(seed: int, n: int, r: int, s: int, c: int) -> Problem:
    """A random problem with some zero weights, and sometimes a pair of nearly equal faces."""
    rng = np.random.default_rng(seed)
    query = unit(rng.standard_normal((r, c)))
    gallery = unit(rng.standard_normal((n, s, c)))
    if n and seed % 3 == 0:
        gallery[0, :] = unit(query[0] + 1e-6 * rng.standard_normal(c))
    u = rng.uniform(size=(n, r)) * (rng.uniform(size=(n, r)) < 0.7)
    v = rng.uniform(size=(n, s)) * (rng.uniform(size=(n, s)) < 0.7)
    return query, gallery, u, v


def same(found: Plan, expected: Plan, *, atol: float = 1e-12) -> None:
    np.testing.assert_array_equal(found.status, expected.status)
    np.testing.assert_array_equal(found.iterations, expected.iterations)
    np.testing.assert_allclose(found.similarity, expected.similarity, rtol=0, atol=atol)
    np.testing.assert_allclose(found.marginal_error, expected.marginal_error, rtol=1e-6, atol=atol)
    if expected.flow is not None:
        assert found.flow is not None
        np.testing.assert_allclose(found.flow, expected.flow, rtol=0, atol=atol)


def identical(found: Plan, expected: Plan) -> None:
    for field in dataclasses.fields(Plan):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(a, b, err_msg=field.name)


@settings(max_examples=80, deadline=None)
@given(problems, st.sampled_from([1e-3, 0.01, 0.05, 1.0]), st.sampled_from(DTYPES))
def test_it_is_the_oracle(problem: Any, epsilon: float, dtype: Any) -> None:
    given = make(*problem)
    how = {"epsilon": epsilon, "dtype": dtype, "max_iterations": 60}
    expected = Sinkhorn(backend="numpy", **how)(*given, flow=True)
    same(Sinkhorn(backend="torch", **how)(*given, flow=True), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_real_sizes_and_codes(dtype: Any) -> None:
    query, gallery, u, v = make(11, 8, 64, 49, 128)
    alike = np.linspace(0, 0.2, 8)[:, None, None]
    gallery = unit(gallery * 0.1 + alike * query[:49])
    codes = encode(gallery, dtype)
    expected = Sinkhorn(backend="numpy", dtype=dtype)(query, codes, u, v, flow=True)
    assert len(set(expected.iterations.tolist())) > 3  # pairs stop apart
    same(Sinkhorn(backend="torch", dtype=dtype)(query, codes, u, v, flow=True), expected)


@settings(max_examples=40, deadline=None)
@given(problems, st.sampled_from([1e-3, 0.05]))
def test_a_batch_equals_its_loop_to_the_last_bit(problem: Any, epsilon: float) -> None:
    query, gallery, u, v = make(*problem)
    solver = Sinkhorn(backend="torch", epsilon=epsilon, max_iterations=60, dtype="f32")
    batch = solver(query, gallery, u, v, flow=True)
    for n in range(len(gallery)):
        one = slice(n, n + 1)
        identical(solver(query, gallery[one], u[one], v[one], flow=True), batch.pair(n))


def test_a_large_batch_equals_its_loop_and_its_order_does_not_matter() -> None:
    query, gallery, u, v = make(3, 300, 16, 12, 16)  # more than one block of pairs
    solver = Sinkhorn(backend="torch")
    batch = solver(query, gallery, u, v, flow=True)
    order = np.random.default_rng(0).permutation(300)
    turned = solver(query, gallery[order], u[order], v[order], flow=True)
    for n in (0, 1, 77, 255, 256, 299):
        one = slice(n, n + 1)
        identical(solver(query, gallery[one], u[one], v[one], flow=True), batch.pair(n))
        identical(turned.pair(int(np.flatnonzero(order == n)[0])), batch.pair(n))


def test_many_queries_are_as_many_calls() -> None:
    rng = np.random.default_rng(4)
    query = unit(rng.standard_normal((3, 16, 24)))
    faces = DeviceFaces.of(encode(unit(rng.standard_normal((7, 12, 24))), "int8"), "cpu")
    candidates = np.array([[0, 6, 2], [5, 5, 1], [3, 4, 0]])
    u, v = rng.uniform(size=(3, 3, 16)), rng.uniform(size=(3, 3, 12))
    found = solve(query, faces, u=u, v=v, candidates=candidates, flow=True)
    assert found.similarity.shape == (3, 3)
    assert found.flow is not None
    assert found.flow.shape == (3, 3, 16, 12)
    for b in range(3):
        one = solve(query[b], faces, u=u[b], v=v[b], candidates=candidates[b], flow=True)
        for field in dataclasses.fields(Plan):
            a = getattr(found, field.name)[b]
            np.testing.assert_array_equal(a, getattr(one, field.name))
    shared = solve(query[0], faces, u=u[0, 0], v=v[0, 0])
    assert shared.similarity.shape == (7,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_mark_their_own_pair_only(bad: float, dtype: Any) -> None:
    query, gallery, _, _ = make(2, 4, 4, 4, 8)
    u = v = np.ones((4, 4))
    gallery[1, 2, 0] = bad
    v = v.copy()
    v[3, 1] = bad
    u = u.copy()
    u[1] = 0  # no mass and not a number: not a number
    expected = Sinkhorn(backend="numpy", dtype=dtype)(query, gallery, u, v, flow=True)
    assert expected.status.tolist() == [0, Status.INVALID, 0, Status.INVALID]
    same(Sinkhorn(backend="torch", dtype=dtype)(query, gallery, u, v, flow=True), expected)
    query[0, 0] = bad
    plan = Sinkhorn(backend="torch", dtype=dtype)(query, gallery, u, v)
    assert (plan.status == Status.INVALID).all()


def test_products_beyond_any_cosine_are_invalid() -> None:
    query, gallery, u, v = make(2, 2, 3, 3, 4)
    gallery[1] *= 1e7
    plan = Sinkhorn(backend="torch", dtype="f32")(query, gallery, u + 1, v + 1)
    assert plan.status.tolist() == [Status.CONVERGED, Status.INVALID]


def test_single_patches_no_faces_no_mass() -> None:
    solver = Sinkhorn(backend="torch", dtype="f32")
    query, gallery, _, _ = make(7, 4, 1, 1, 8)
    plan = solver(query, gallery, np.ones(1), np.ones(1))
    np.testing.assert_allclose(plan.similarity, gallery[:, 0] @ query[0], atol=1e-6)
    none = solver(query, gallery[:0], np.ones(1), np.ones(1), flow=True)
    assert len(none) == 0
    assert none.flow is not None
    assert none.flow.shape == (0, 1, 1)
    nothing = solver(query, gallery, np.zeros(1), np.ones(1), flow=True)
    assert (nothing.status == Status.NO_MASS).all()
    assert not nothing.similarity.any()
    assert nothing.flow is not None
    assert not nothing.flow.any()


def test_refusals_are_the_oracles() -> None:
    query, gallery, u, v = make(2, 3, 4, 4, 8)
    solver = Sinkhorn(backend="torch")
    with pytest.raises(InputError, match=r"weight u\[1, 2\] is negative"):
        solver(query, gallery, np.where(np.arange(12).reshape(3, 4) == 6, -1, u), v)
    with pytest.raises(InputError, match="weights v have shape"):
        solver(query, gallery, u, v[:, :2])
    with pytest.raises(InputError, match="do not go with"):
        solve(query[:, :3], gallery, u=u, v=v)
    with pytest.raises(InputError, match="outside the gallery"):
        solve(query, gallery, u=u[:1], v=v[:1], candidates=np.array([3]))
    with pytest.raises(InputError, match="choose one of auto, native, numpy, torch, triton"):
        Sinkhorn(backend="cuda")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="device is 'gpu'"):
        Sinkhorn(device="gpu")


@pytest.mark.parametrize("channels", [1, 33, 2048])
def test_products_do_not_depend_on_their_order(channels: int) -> None:
    """Their sums are exact, so that the channels may come in any order, and the pairs too."""
    rng = np.random.default_rng(5)
    query = torch.from_numpy(unit(rng.standard_normal((2, 9, channels))))
    gallery = unit(rng.standard_normal((10, 7, channels)))
    gallery[0, 0] = query[0, 0]
    rows = np.arange(10)

    def found(order: np.ndarray, at: np.ndarray = rows) -> np.ndarray:
        faces = DeviceFaces.of(np.ascontiguousarray(gallery[..., order]), "cpu")
        turned = query[..., torch.from_numpy(order)].contiguous()
        pairs = Pairs(turned, faces, rows % 2, rows, np.ones((10, 9)), np.ones((10, 7)))
        return products(torch, pairs[at]).numpy()

    straight = np.arange(channels)
    whole = found(straight)
    expected = np.einsum("prc,psc->prs", query.double()[rows % 2], gallery.astype(np.float64))
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-12)
    for _ in range(5):
        np.testing.assert_array_equal(found(rng.permutation(channels)), whole)
    for at in (rows[3:4], rows[8:1:-1]):
        np.testing.assert_array_equal(found(straight, at), whole[at])


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 49, 64, 100])
def test_sums_by_halving(width: int) -> None:
    values = torch.arange(3.0 * width, dtype=torch.float64).reshape(3, width)
    kept = values.clone()
    np.testing.assert_array_equal(total(values), values.sum(dim=1))
    np.testing.assert_array_equal(values, kept)


def test_float32_devices_iterate_in_logs_beyond_its_range() -> None:
    """As on Apple's GPUs, which have no float64."""
    from faceflow.matching.transport.device.sinkhorn import sinkhorn

    rng = np.random.default_rng(6)
    cosine = rng.uniform(-1, 1, (4, 8, 8))
    weights = np.full((4, 8), 1 / 8)
    how = {"tolerance": 1e-3, "max_iterations": 2000}
    for epsilon in (0.05, 0.01):  # ranges of 40 and of 200
        expected = Sinkhorn(epsilon=epsilon, **how).solve(cosine, weights, weights)
        tensors = [torch.from_numpy(x).float() for x in (cosine, weights, weights)]
        found = sinkhorn(torch, *tensors, epsilon=epsilon, **how)
        np.testing.assert_allclose(found.similarity, expected.similarity, atol=3e-6)
        np.testing.assert_allclose(found.iterations, expected.iterations, atol=2)


def test_which_backend_solves(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = 64, 64, 128
    assert Sinkhorn(backend="torch").backend_for(*sizes) == "torch"
    here = Sinkhorn().backend_for(*sizes)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Sinkhorn(device="cuda").backend_for(*sizes) == here  # PyTorch does not see it
    with pytest.raises(DeviceError, match="cuda cannot be used"):
        Sinkhorn(backend="torch", device="cuda")(*make(1, 2, 3, 3, 4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    from faceflow.matching.transport.device import fused

    monkeypatch.setattr(fused, "why_not", lambda *_: "Triton is not installed")
    assert Sinkhorn(device="cuda").backend_for(*sizes) == "torch"
    monkeypatch.setattr(fused, "why_not", lambda *_: None)
    assert Sinkhorn(device="cuda").backend_for(*sizes) == "triton"
    assert Sinkhorn(device="cuda", backend="numpy").backend_for(*sizes) == "numpy"


def test_people_are_shown_the_cpus_numbers() -> None:
    assert Sinkhorn(backend="torch", device="cuda", epsilon=0.1).on_cpu == Sinkhorn(epsilon=0.1)
    assert Sinkhorn(device="cuda").on_cpu == Sinkhorn()
    for solver in (Sinkhorn(), Sinkhorn(backend="numpy"), Sinkhorn(backend="native")):
        assert solver.on_cpu is solver


def test_the_kernel_says_why_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    from faceflow.matching.transport.device import fused

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    problem = make(1, 2, 3, 3, 4)
    with pytest.raises(DeviceError, match="on CUDA devices, not on cpu"):
        Sinkhorn(backend="triton")(*problem)
    with pytest.raises(InputError, match="float32, to a tolerance"):
        Sinkhorn(backend="triton", tolerance=1e-7)(*problem)
    with pytest.raises(InputError, match="up to 128 patches"):
        Sinkhorn(backend="triton")(*make(1, 2, 129, 3, 4))
    monkeypatch.setattr(fused, "_installed", lambda: False)
    with pytest.raises(MissingExtraError, match="pip install triton"):
        fused.require("cuda", 64, 64, 1e-3)
    assert Settings() == Settings(Sinkhorn().epsilon, Sinkhorn().tolerance, 1000)
