"""The compiled kernel against the NumPy oracle, itself, and hostile input."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import unit
from faceflow.errors import InputError
from faceflow.matching.score import emd_similarity
from faceflow.matching.transport import Plan, Sinkhorn, Status, decode, encode, native
from faceflow.matching.transport.codes import DTYPES, DType
from faceflow.matching.weighting import weigh

pytestmark = pytest.mark.skipif(not native.available(), reason="the kernel is not built")

oracle = partial(Sinkhorn, backend="numpy")
LEVELS = native.info().available if native.available() else ()
SIZES = [(1, 1, 1), (9, 9, 37), (16, 16, 128), (49, 33, 130), (64, 64, 512), (17, 70, 3)]


def make(seed: int, n: int, r: int, s: int, c: int) -> tuple[np.ndarray, ...]:
    """Random unit patches with something in common, and random weights."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(c)
    query = unit(common + rng.standard_normal((r, c)))
    gallery = unit(common + rng.standard_normal((n, s, c)))
    u = rng.uniform(size=(n, r)).astype(np.float32)
    v = rng.uniform(size=(n, s)).astype(np.float32)
    return query, gallery, u, v


def assert_same(a: Plan, b: Plan, rows: np.ndarray | None = None) -> None:
    """Equal to the last bit, NaN included."""
    for name in ("similarity", "iterations", "marginal_error", "status", "flow"):
        x, y = getattr(a, name), getattr(b, name)
        if x is None or y is None:
            assert x is y
        else:
            np.testing.assert_array_equal(x if rows is None else x[rows], y)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_every_level_agrees_with_the_oracle(
    level: str, dtype: DType, size: tuple[int, int, int]
) -> None:
    query, gallery, u, v = make(1, 7, *size)
    codes = encode(gallery, dtype)
    # The kernel rounds the query as well; the oracle gets the same rounded numbers.
    rounded = decode(encode(query, dtype))
    plan = native.solve(query, codes, u=u, v=v, flow=True, isa=level)
    expected = oracle()(rounded, decode(codes), u, v, flow=True)
    assert plan.flow is not None
    assert expected.flow is not None
    np.testing.assert_array_equal(plan.status, expected.status)
    near = np.abs(expected.marginal_error - 1e-3) > 1e-5
    np.testing.assert_array_equal(plan.iterations[near], expected.iterations[near])
    np.testing.assert_allclose(plan.similarity[near], expected.similarity[near], atol=2e-6)
    np.testing.assert_allclose(plan.flow[near], expected.flow[near], atol=2e-6)
    np.testing.assert_allclose(plan.marginal_error, expected.marginal_error, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_levels_with_fused_multiply_add_agree_to_the_last_bit(dtype: DType) -> None:
    query, gallery, u, v = make(2, 5, 49, 33, 130)
    fused = [level for level in LEVELS if level != "portable"]
    if len(fused) < 2 or dtype == "bf16":
        pytest.skip("one such level here, or its bf16 product is the processor's own")
    plans = [
        native.solve(query, encode(gallery, dtype), u=u, v=v, flow=True, isa=level)
        for level in fused
    ]
    for plan in plans[1:]:
        assert_same(plans[0], plan)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_order_and_threads_change_nothing(level: str, dtype: DType) -> None:
    query, gallery, u, v = make(3, 11, 20, 18, 70)
    codes = encode(gallery, dtype)
    run = partial(native.solve, flow=True, isa=level)
    whole = run(query, codes, u=u, v=v, threads=1)
    for threads in (2, 3, 16):
        assert_same(whole, run(query, codes, u=u, v=v, threads=threads))
    for n in range(11):
        row = slice(n, n + 1)
        assert_same(whole, run(query, codes[row], u=u[row], v=v[row]), np.array([n]))
    order = np.random.default_rng(0).permutation(11)
    assert_same(whole, run(query, codes[order], u=u[order], v=v[order]), order)
    assert_same(whole, run(query, codes, u=u[order], v=v[order], candidates=order), order)
    blobs = [bytes(b"\0" * (n % 3)) + face.tobytes() for n, face in enumerate(codes)]
    views = [memoryview(blob)[n % 3 :] for n, blob in enumerate(blobs)]  # any alignment
    assert_same(whole, run(query, views, u=u, v=v, dtype=dtype, gallery_patches=18))
    many = run(np.stack([query, query]), codes, u=u, v=v)
    assert_same(whole, Plan(*(getattr(many, f)[1] for f in Plan.__dataclass_fields__)))


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 4),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1e-3, 0.004, 0.02, 0.05, 1.0, 10.0]),
    st.sampled_from(LEVELS or ("none",)),
)
def test_hostile_problems(
    seed: int, n: int, r: int, s: int, c: int, epsilon: float, level: str
) -> None:
    """Zero and one-hot weights, equal and nearly equal patches, denormals, any epsilon."""
    rng = np.random.default_rng(seed)
    query, gallery, u, v = make(seed, n, r, s, c)
    kind = seed % 6
    if kind == 0:
        u *= rng.uniform(size=u.shape) < 0.5
        v *= rng.uniform(size=v.shape) < 0.5
    elif kind == 1:
        u = np.eye(r, dtype=np.float32)[rng.integers(r, size=n)]
    elif kind == 2:
        gallery[:] = query[0]
    elif kind == 3:
        gallery = unit(query[rng.integers(r, size=s)] + 1e-6 * rng.standard_normal((n, s, c)))
    elif kind == 4:
        u *= np.float32(1e-41)
        gallery[:, 0] *= np.float32(1e-40)
        v[:, : s // 2] *= np.float32(1e-44)
    plan = native.solve(
        query, gallery, u=u, v=v, epsilon=epsilon, max_iterations=60, flow=True, isa=level
    )
    expected = oracle(epsilon=epsilon, max_iterations=60)(query, gallery, u, v, flow=True)
    assert plan.flow is not None
    assert expected.flow is not None
    assert np.isfinite(plan.flow).all()
    near = np.abs(expected.marginal_error - 1e-3) > 2e-5 + 1e-6 / epsilon
    np.testing.assert_array_equal(plan.status[near], expected.status[near])
    np.testing.assert_array_equal(plan.iterations[near], expected.iterations[near])
    # Cosines carry float32 rounding, which 1 / epsilon magnifies in the flow.
    loose = 2e-6 + 2e-7 / epsilon
    np.testing.assert_allclose(plan.similarity[near], expected.similarity[near], atol=loose)
    np.testing.assert_allclose(
        plan.flow.sum(axis=1),
        np.broadcast_to(_shares(v, expected), plan.flow.sum(axis=1).shape),
        atol=3e-6,
    )
    for pair in range(n):
        assert not plan.flow[pair][u[pair] == 0].any()
        assert not plan.flow[pair][:, v[pair] == 0].any()


def test_a_patch_without_weight_stays_out_at_tiny_epsilon() -> None:
    """Its potential stands still while the others move by hundreds: it must not overflow."""
    query = np.array([[1.0], [-1.0]], np.float32)
    gallery = np.array([[[-1.0], [1.0]]], np.float32)
    for u, v in (([0.0, 1.0], [0.6, 0.4]), ([0.3, 0.7], [1.0, 0.0]), ([1.0, 0.0], [0.0, 1.0])):
        problem = (query, gallery, np.array(u), np.array(v))
        plan = native.solve(*problem[:2], u=u, v=v, epsilon=1e-3, flow=True)
        expected = oracle(epsilon=1e-3)(*problem, flow=True)
        assert plan.flow is not None
        assert expected.flow is not None
        np.testing.assert_allclose(plan.flow, expected.flow, atol=1e-6)
        np.testing.assert_allclose(plan.similarity, expected.similarity, atol=1e-6)


def _shares(v: np.ndarray, plan: Plan) -> np.ndarray:
    wide = v.astype(np.float64)
    total = wide.sum(axis=1, keepdims=True)
    shares = np.divide(wide, total, out=np.zeros_like(wide), where=total > 0)
    shares[plan.status == Status.NO_MASS] = 0
    return shares


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighting", ["uniform", "apc", "sc"])
def test_fused_weighting_is_the_weighting(
    random_features, level: str, dtype: DType, weighting: str
) -> None:
    query, gallery = (
        random_features(1, seed=5, channels=70),
        random_features(6, seed=6, channels=70),
    )
    codes = encode(gallery.patches, dtype)
    plan = native.solve(
        query.patches[0],
        codes,
        weighting=weighting,
        pooled_query=query.pooled[0],
        pooled_gallery=gallery.pooled,
        isa=level,
    )
    u, v = weigh(weighting, query, gallery)
    expected = native.solve(query.patches[0], codes, u=u, v=v, isa=level)
    atol = {"f32": 2e-6, "bf16": 1e-3, "int8": 2e-3}[dtype]
    np.testing.assert_allclose(plan.similarity, expected.similarity, atol=atol)


@pytest.mark.parametrize("weighting", native.WEIGHTINGS)
def test_emd_similarity_is_the_same_from_both_backends(random_features, weighting: str) -> None:
    query, gallery = random_features(1, seed=1), random_features(4, seed=2)
    expected = emd_similarity(query, gallery, weighting=weighting, solver=oracle(), flow=True)
    plan = emd_similarity(query, gallery, weighting=weighting, flow=True)
    np.testing.assert_array_equal(plan.iterations, expected.iterations)
    np.testing.assert_allclose(plan.similarity, expected.similarity, atol=2e-6)
    assert plan.flow is not None
    assert expected.flow is not None
    np.testing.assert_allclose(plan.flow, expected.flow, atol=2e-6)


def test_fused_weighting_without_mass_is_uniform() -> None:
    eye = np.eye(4, dtype=np.float32)
    plan = native.solve(
        eye,
        eye[None],
        weighting="apc",
        pooled_query=-np.ones(4),
        pooled_gallery=-np.ones((1, 4)),
    )
    assert plan.similarity[0] == pytest.approx(1.0, abs=1e-6)
    assert plan.status[0] == Status.CONVERGED


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("epsilon", [0.05, 1e-3])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_number_spoils_its_own_pair_only(level: str, epsilon: float, bad: float) -> None:
    query, gallery, u, v = make(8, 5, 13, 11, 21)
    run = partial(native.solve, epsilon=epsilon, isa=level, flow=True, max_iterations=50)
    clean = run(query, gallery, u=u, v=v)
    gallery[1, 3, 20] = bad
    u[3, 2] = abs(bad)
    plan = run(query, gallery, u=u, v=v)
    assert list(plan.status[[1, 3]]) == [Status.INVALID] * 2
    assert np.isnan(plan.similarity[[1, 3]]).all()
    assert np.isnan(plan.marginal_error[[1, 3]]).all()
    kept = np.array([0, 2, 4])
    assert plan.flow is not None
    fields = (plan.similarity, plan.iterations, plan.marginal_error, plan.status, plan.flow)
    assert_same(clean, Plan(*(f[kept] for f in fields)), kept)
    query[0, 0] = bad
    assert (run(query, gallery, u=u, v=v).status == Status.INVALID).all()
    for dtype in ("bf16", "int8"):
        mixed = Sinkhorn(dtype=dtype, backend="native")(
            unit(np.ones((13, 21))), gallery, u[0], v[0]
        )
        assert list(mixed.status) == [0, Status.INVALID, 0, 0, 0]
        assert (native.solve(query, encode(gallery[:1], dtype), u=u[:1], v=v[:1]).status == 3).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES))
def test_shapes_and_strides(seed: int, dtype: DType) -> None:
    """Views with any outer strides give what their copies give."""
    rng = np.random.default_rng(seed)
    r, s, c = (int(x) for x in rng.integers(1, 40, size=3))
    n = int(rng.integers(1, 5))
    query, _, u, v = make(seed, n, r, s, c)
    _, big, _, _ = make(seed, 2 * n + 1, 1, 2 * s + 1, c + 9)
    codes = encode(big, dtype)
    view = codes[1 + (seed % 2) :: 2][:n][:, ::-1][:, ::2][:, :s, 5 : 5 + c]
    n = len(view)
    wide = np.zeros((2 * r, c), np.float32)
    wide[::2] = query
    a = native.solve(wide[::2], view, u=u[:n], v=v[0], flow=True)
    b = native.solve(query, view.copy(), u=u[:n].copy(), v=np.tile(v[0], (n, 1)), flow=True)
    assert_same(a, b)
    turned = np.asfortranarray(query)
    assert_same(a, native.solve(turned, view.copy(), u=u[:n], v=v[0].astype(np.float64), flow=True))


@pytest.mark.parametrize(("n", "k"), [(0, None), (3, 0)])
def test_no_candidates_is_an_empty_plan(n: int, k: int | None) -> None:
    query, gallery, _, _ = make(1, n, 3, 4, 5)
    rows = None if k is None else np.zeros(k, np.int64)
    plan = native.solve(query, gallery, u=np.ones(3), v=np.ones(4), candidates=rows, flow=True)
    assert len(plan) == 0
    assert plan.flow is not None
    assert plan.flow.shape == (0, 3, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": np.array([0, 2])}, "outside the gallery"),
        ({"candidates": np.array([-1])}, "outside the gallery"),
        ({"gallery": np.ones((2, 4, 6), np.float32)}, "do not go with"),
        ({"gallery": np.ones((2, 4, 10), np.float32)[..., ::2]}, "read in place"),
        ({"gallery": np.ones((2, 4, 5))}, "read in place"),
        ({"gallery": np.ones((2, 4, 5), np.int32)}, "int32"),
        ({"gallery": [b"short"], "dtype": "f32"}, "60 are needed"),
        ({"gallery": [b"short"]}, "say dtype"),
        ({"u": -np.ones(3)}, "negative"),
        ({"u": np.ones(4)}, "u have shape"),
        ({"u": None}, "u are missing"),
        ({"weighting": "apc"}, "pooled_query is missing"),
        ({"weighting": "cc"}, "unknown weighting"),
        ({"isa": "altivec"}, "cannot run"),
        ({"query_patches": np.ones((300, 5))}, "does not take R=300"),
    ],
)
def test_bad_problems_are_refused(change: dict[str, object], message: str) -> None:
    problem: dict[str, object] = {
        "query_patches": np.ones((3, 5)),
        "gallery": np.ones((2, 4, 5), np.float32),
        "u": np.ones(3),
        "v": np.ones(4),
    } | change
    if "gallery" in change and isinstance(change["gallery"], list):
        problem["v"] = np.ones(3)
    with pytest.raises(InputError, match=message):
        native.solve(**problem)  # type: ignore[arg-type]


def test_the_running_backend_is_said() -> None:
    assert Sinkhorn().backend_for(64, 64, 128) == "native"
    assert Sinkhorn().backend_for(300, 64, 128) == "numpy"
    assert Sinkhorn(backend="numpy").backend_for(64, 64, 128) == "numpy"
    assert native.info().active["f32"] in LEVELS


def test_the_environment_forces_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_ISA", "portable")
    assert set(native.info().active.values()) == {"portable"}
    monkeypatch.setenv("FACEFLOW_ISA", "sse9")
    with pytest.raises(InputError, match="sse9"):
        native.info()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_can_use_threads(tmp_path: Path) -> None:
    script = tmp_path / "fork.py"
    script.write_text(
        "import os, sys, warnings\n"
        "import numpy as np\n"
        "from faceflow.matching.transport import native\n"
        "warnings.simplefilter('ignore')\n"
        "q = np.eye(8, dtype=np.float32); g = np.stack([q] * 20); w = np.ones(8)\n"
        "run = lambda: native.solve(q, g, u=w, v=w, threads=3).similarity.tobytes()\n"
        "before = run()\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if run() == before else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, str(script)], check=True, timeout=60)
