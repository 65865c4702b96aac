"""The fused kernel against the oracle, interpreted on the CPU: it needs no GPU to be checked."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow.arrays import unit
from faceflow.features import FaceFeatures
from faceflow.matching.transport import Plan, Sinkhorn, Status, encode
from faceflow.matching.transport.codes import rounded
from faceflow.matching.weighting import weigh

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
# Triton, and every kernel of its own, looks at the variable when it is imported: once a process.
if "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
triton = pytest.importorskip("triton", reason="Triton is not installed (pip install triton)")
if not triton.knobs.runtime.interpret:
    pytest.skip("Triton was loaded to compile, not to interpret", allow_module_level=True)

from faceflow.matching.transport.device import fused  # noqa: E402
from faceflow.matching.transport.device.faces import DeviceFaces  # noqa: E402
from faceflow.matching.transport.device.solve import Settings, solve  # noqa: E402


def make(seed: int, n: int, r: int, s: int, c: int) -> tuple[np.ndarray, ...]:
    """Faces alike and not, some weights zero: pairs stop apart."""
    rng = np.random.default_rng(seed)
    query = unit(rng.standard_normal((r, c)))
    gallery = rng.standard_normal((n, s, c)) * 0.1
    shared = min(r, s)
    gallery[:, :shared] += np.linspace(0, 0.2, n)[:, None, None] * query[:shared]
    u = rng.uniform(size=(n, r)) * (rng.uniform(size=(n, r)) < 0.8)
    v = rng.uniform(size=(n, s)) * (rng.uniform(size=(n, s)) < 0.8)
    return query, unit(gallery), u + 1e-3 * (u.sum(1, keepdims=True) == 0), v


def near(found: Plan, expected: Plan, atol: float, iterations: int = 1) -> None:
    np.testing.assert_array_equal(found.status, expected.status)
    assert np.abs(found.iterations - expected.iterations).max(initial=0) <= iterations
    np.testing.assert_allclose(found.similarity, expected.similarity, rtol=0, atol=atol)
    if expected.flow is not None:
        assert found.flow is not None
        np.testing.assert_allclose(found.flow, expected.flow, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("r", "s", "c"), [(16, 16, 16), (9, 20, 40), (1, 1, 3), (49, 7, 70), (64, 64, 128)]
)
@pytest.mark.parametrize("dtype", ["f32", "int8"])
def test_it_is_the_oracle(r: int, s: int, c: int, dtype: Any) -> None:
    problem = make(r + c, 4, r, s, c)
    expected = Sinkhorn(backend="numpy", dtype=dtype)(*problem, flow=True)
    found = Sinkhorn(backend="triton", dtype=dtype)(*problem, flow=True)
    near(found, expected, 3e-6)
    assert len(set(expected.iterations.tolist())) > 1 or r == 1


def test_half_precision_patches() -> None:
    query, gallery, u, v = make(1, 4, 20, 16, 48)
    faces = DeviceFaces(torch.from_numpy(gallery).half())
    expected = Sinkhorn(backend="numpy", dtype="f32")(query, gallery, u, v)
    found = solve(query, faces, u=u, v=v, kernel=True)
    near(found, expected, 5e-4, iterations=2)
    halves = (x.astype(np.float16).astype(np.float32) for x in (query, gallery))
    near(found, Sinkhorn(backend="numpy", dtype="f32")(*halves, u, v), 3e-6)


def test_it_iterates_again_what_float32_cannot_hold() -> None:
    problem = make(2, 4, 8, 8, 16)
    query, gallery = problem[:2]
    cosine = query.astype(float) @ gallery.astype(float).transpose(0, 2, 1)
    spread = np.ptp(cosine.reshape(4, -1), axis=1)
    how = {"epsilon": float(np.median(spread)) / 40, "dtype": "f32", "max_iterations": 30}
    expected = Sinkhorn(backend="numpy", **how)(*problem, flow=True)
    plan = Sinkhorn(backend="triton", **how)(*problem, flow=True)
    near(plan, expected, 3e-6)
    wide = spread > np.median(spread)
    off = [np.abs(plan.similarity - expected.similarity)[some].max() for some in (wide, ~wide)]
    assert off[0] < 1e-12 < off[1]


def test_no_mass_nan_and_the_cap() -> None:
    query, gallery, u, v = make(3, 5, 6, 6, 8)
    u[0] = 0
    gallery[1, 0, 0] = np.nan
    v[2, 3] = np.inf
    gallery[3] *= 1e7
    for dtype in ("f32", "int8"):
        how = {"dtype": dtype, "max_iterations": 2, "tolerance": 1e-5}
        expected = Sinkhorn(backend="numpy", **how)(query, gallery, u, v, flow=True)
        found = Sinkhorn(backend="triton", **how)(query, gallery, u, v, flow=True)
        near(found, expected, 3e-6)
        assert found.status[4] == Status.MAX_ITERATIONS
        assert found.status[:3].tolist() == [Status.NO_MASS, Status.INVALID, Status.INVALID]
    query[2] = np.nan
    assert (Sinkhorn(backend="triton")(query, gallery, u + 1, v).status == Status.INVALID).all()


def test_a_batch_equals_its_loop_and_many_queries_as_many_calls() -> None:
    rng = np.random.default_rng(6)
    query = rounded(unit(rng.standard_normal((2, 10, 24))), "int8")
    faces = DeviceFaces.of(encode(unit(rng.standard_normal((5, 12, 24))), "int8"), "cpu")
    candidates = np.array([[4, 0, 2], [1, 1, 3]])
    u, v = rng.uniform(size=(2, 3, 10)), rng.uniform(size=(2, 3, 12))
    found = solve(query, faces, u=u, v=v, candidates=candidates, flow=True, kernel=True)
    for b in range(2):
        for n in range(3):
            one = solve(
                query[b],
                faces,
                u=u[b, n],
                v=v[b, n],
                candidates=candidates[b, n : n + 1],
                flow=True,
                kernel=True,
            )
            assert one.similarity[0] == found.similarity[b, n]
            assert one.iterations[0] == found.iterations[b, n]
            assert one.flow is not None
            assert found.flow is not None
            np.testing.assert_array_equal(one.flow[0], found.flow[b, n])
    none = solve(query[0], faces, u=u[0, :0], v=v[0, :0], candidates=np.empty(0, int), kernel=True)
    assert len(none) == 0


@pytest.mark.parametrize("dtype", ["f32", "int8"])
def test_apc_weights_made_in_the_kernel(dtype: Any) -> None:
    rng = np.random.default_rng(7)
    maps = rng.standard_normal((6, 40, 4, 5)) + rng.standard_normal((1, 40, 4, 5))
    maps[5] = -maps[1]  # nothing of it points to the others
    both = FaceFeatures.from_maps(rng.standard_normal((6, 8)), maps)
    both = replace(both, patches=rounded(both.patches, dtype))
    query, gallery = both[1], both[[0, 2, 3, 4, 5]]
    u, v = weigh("apc", query, gallery)
    expected = Sinkhorn(backend="numpy", dtype=dtype)(query.patches[0], gallery.patches, u, v)
    faces = DeviceFaces.of(encode(gallery.patches, dtype), "cpu")
    rows = torch.arange(5)
    centres = fused.Centres(torch.from_numpy(query.pooled), torch.from_numpy(gallery.pooled))
    patches = torch.from_numpy(query.patches)
    found = fused.launch(torch, patches, faces, rows * 0, rows, centres, Settings())
    assert found.status.tolist() == expected.status.tolist() == [0] * 5
    np.testing.assert_allclose(found.similarity, expected.similarity, atol=3e-6)
    assert np.abs(found.iterations.numpy() - expected.iterations).max() <= 1


def test_the_interpreter_is_for_tests_alone() -> None:
    """Nobody gets it by "torch" or "auto" on the CPU."""
    assert fused.why_not("cpu", 8, 8, 1e-3) is None
    assert Sinkhorn(backend="torch").backend_for(8, 8, 8) == "torch"
    assert Settings().tolerance >= fused.LEAST_TOLERANCE


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from faceflow.matching.transport.device.triton_kernel import solve_pair
kinds = {"query": "*i8", "faces": "*i8", "query_rows": "*i64", "face_rows": "*i64"}
kinds |= {"iterations": "*i32", "status": "*i32", "max_iterations": "i32"}
kinds |= dict.fromkeys(("inverse_epsilon", "tolerance", "exp_range", "most_cosine"), "fp32")
given = dict(R=64, S=64, C=512, BLOCK_R=64, BLOCK_S=64, BLOCK_C=64)
given |= dict(SCALED=True, APC=True, FLOW=False)
names = solve_pair.arg_names
kinds = {n: "constexpr" if n in given else kinds.get(n, "*fp32") for n in names}
source = ASTSource(solve_pair, kinds, {(names.index(n),): v for n, v in given.items()})
how = {"num_warps": 4, "enable_fp_fusion": True}
made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=how)
print("tensor cores" if "wgmma.mma_async" in made.asm["ptx"] else "none")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles for CUDA on Linux")
def test_it_compiles_for_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    """What the interpreter takes the compiler may refuse; it needs no GPU either."""
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "tensor cores\n", done.stderr
