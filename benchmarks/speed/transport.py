"""Time the transport of one query against k candidates: ours, the published way, and POT.

    pip install -r benchmarks/speed/requirements.txt
    python benchmarks/speed/transport.py

Every method gets the same features and the same number of threads, in one interleaved run:
each round times every method once, in an order shuffled anew. What counts is CPU time of the
process (all threads); printed are the median, the quartiles, and the median over the rounds of
the ratio to the published computation of the same round. A probe of the processor's peak runs
within every round, so that "of peak" compares moments of the same machine load.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Before anything that starts a thread pool is imported.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    if "--threads" in sys.argv:
        os.environ[name] = sys.argv[sys.argv.index("--threads") + 1]
    else:
        os.environ[name] = "1"
os.environ.pop("OPENBLAS_CORETYPE", None)

import numpy as np  # noqa: E402

from faceflow import _kernel  # noqa: E402
from faceflow.features import FaceFeatures  # noqa: E402
from faceflow.matching.transport import Sinkhorn, encode, native  # noqa: E402
from faceflow.matching.weighting import weigh  # noqa: E402

Run = Callable[[], object]
EPSILON = 0.05


def features(r: int, c: int, k: int) -> tuple[np.ndarray, ...]:
    """Query and gallery patches with APC weights, cosines spread like a face network's."""
    rng = np.random.default_rng(r * 10_000 + c)
    side = int(np.sqrt(r))
    place, face = rng.standard_normal((c, side, side)), rng.standard_normal((k + 1, c, 1, 1))
    maps = place + 0.7 * face + rng.standard_normal((k + 1, c, side, side))
    faces = FaceFeatures.from_maps(np.ones((k + 1, 1)), maps)
    query, gallery = faces[0], faces[1:]
    u, v = weigh("apc", query, gallery)
    return query.patches[0], gallery.patches, u, v


def published(query: np.ndarray, gallery: np.ndarray, u: np.ndarray, v: np.ndarray) -> Run:
    """The published per-query computation in PyTorch, our transcription.

    Candidates are gathered from the gallery first; rows are gallery patches; one stopping rule
    for the whole batch; the score is the sum of flow times cosine, NaN counted as 0.
    """
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    q, stored = torch.from_numpy(query), torch.from_numpy(gallery)
    columns, rows = torch.from_numpy(u), torch.from_numpy(v)
    order = torch.randperm(len(gallery))

    def run() -> object:
        candidates = stored[order]
        cosine = torch.einsum("nsc,rc->nsr", candidates, q).contiguous()
        kernel = torch.exp(-(1 - cosine) / EPSILON)
        r, c = torch.ones_like(rows), torch.ones_like(columns)
        for _ in range(100):
            before = r
            r = rows / torch.matmul(kernel, c[:, :, None])[:, :, 0]
            c = columns / torch.matmul(r[:, None, :], kernel)[:, 0, :]
            if (r - before).abs().mean() < 0.1:
                break
        flow = r[:, :, None] * kernel * c[:, None, :]
        return torch.nan_to_num(flow * cosine).sum(dim=(1, 2))

    def guarded() -> object:
        with torch.no_grad():
            return run()

    return guarded


def published_onnx(query: np.ndarray, gallery: np.ndarray, u: np.ndarray, v: np.ndarray) -> Run:
    """The same computation as :func:`published`, as one ONNX graph in ONNX Runtime."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    node, kind = helper.make_node, TensorProto.FLOAT
    tensor = helper.make_tensor_value_info
    # One step: r, c -> r = rows / K c, c = columns / r K; on while the mean change is 0.1 or more.
    step = [
        node("MatMul", ["kernel", "c"], ["kc"]),
        node("Div", ["rows", "kc"], ["r_new"]),
        node("Transpose", ["r_new"], ["r_row"], perm=[0, 2, 1]),
        node("MatMul", ["r_row", "kernel"], ["rk"]),
        node("Div", ["columns", "rk"], ["c_row"]),
        node("Transpose", ["c_row"], ["c_new"], perm=[0, 2, 1]),
        node("Sub", ["r_new", "r"], ["moved"]),
        node("Abs", ["moved"], ["distance"]),
        node("ReduceMean", ["distance"], ["mean"], keepdims=0),
        node("GreaterOrEqual", ["mean", "tenth"], ["on"]),
    ]
    body = helper.make_graph(
        step,
        "step",
        [
            tensor("i", TensorProto.INT64, []),
            tensor("go", TensorProto.BOOL, []),
            tensor("r", kind, None),
            tensor("c", kind, None),
        ],
        [
            tensor("on", TensorProto.BOOL, []),
            tensor("r_new", kind, None),
            tensor("c_new", kind, None),
        ],
    )
    nodes = [
        node("Gather", ["stored", "order"], ["candidates"], axis=0),
        node("MatMul", ["candidates", "q"], ["cosine"]),
        node("Sub", ["cosine", "one"], ["less"]),
        node("Div", ["less", "epsilon"], ["exponent"]),
        node("Exp", ["exponent"], ["kernel"]),
        node("Loop", ["most", "yes", "r0", "c0"], ["r_end", "c_end"], body=body),
        node("Transpose", ["c_end"], ["c_wide"], perm=[0, 2, 1]),
        node("Mul", ["r_end", "kernel"], ["half"]),
        node("Mul", ["half", "c_wide"], ["flow"]),
        node("Mul", ["flow", "cosine"], ["products"]),
        node("IsNaN", ["products"], ["bad"]),
        node("Where", ["bad", "zero", "products"], ["good"]),
        node("ReduceSum", ["good", "axes"], ["score"], keepdims=0),
    ]
    constants = {
        "one": np.float32(1),
        "zero": np.float32(0),
        "tenth": np.float32(0.1),
        "epsilon": np.float32(EPSILON),
        "most": np.int64(100),
        "yes": np.bool_(True),
        "axes": np.array([1, 2]),
    }
    given = {
        "stored": gallery,
        "q": np.ascontiguousarray(query.T),
        "rows": v[:, :, None],
        "columns": u[:, None, :],
        "r0": np.ones_like(v)[:, :, None],
        "c0": np.ones_like(u)[:, :, None],
        "order": np.random.default_rng(0).permutation(len(gallery)),
    }
    given = {
        name: np.asarray(x, np.int64 if name == "order" else np.float32)
        for name, x in given.items()
    }
    graph = helper.make_graph(
        nodes,
        "published",
        [tensor(n, TensorProto.INT64 if n == "order" else kind, x.shape) for n, x in given.items()],
        [tensor("score", kind, [len(gallery)])],
        [numpy_helper.from_array(np.asarray(x), n) for n, x in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, given)[0]


def pot_batch(query: np.ndarray, gallery: np.ndarray, u: np.ndarray, v: np.ndarray) -> Run:
    """POT's batched log-domain solver on the same cost, at our tolerance."""
    import ot.batch

    def run() -> object:
        cost = 1 - np.matmul(query, gallery.transpose(0, 2, 1))
        return ot.batch.solve_batch(cost, reg=EPSILON, a=u, b=v, max_iter=1000, tol=1e-3).plan

    return run


def methods(r: int, c: int, k: int, threads: int) -> dict[str, Run]:
    query, gallery, u, v = features(r, c, k)
    found: dict[str, Run] = {}
    try:
        found["published (PyTorch)"] = published(query, gallery, u, v)
    except ImportError:
        print("PyTorch is not installed: no published computation in this run")
    found["published (ONNX Runtime)"] = published_onnx(query, gallery, u, v)
    for dtype in ("f32", "bf16", "int8"):
        codes = encode(gallery, dtype)
        # Each format's own best level: what runs when nobody forces one.
        for level in dict.fromkeys([native.info().active[dtype], "avx512vnni", "portable"]):
            if level not in _kernel.isa_levels() or (level == "avx512vnni" and dtype != "int8"):
                continue

            def ours(codes: np.ndarray = codes, level: str = level) -> object:
                return native.solve(query, codes, u=u, v=v, threads=threads, isa=level)

            found[f"ours {dtype} {level}"] = ours
    found["ours numpy"] = lambda: Sinkhorn(backend="numpy")(query, gallery, u, v)
    try:
        found["POT solve_batch"] = pot_batch(query, gallery, u, v)
    except ImportError:
        print("POT with ot.batch is not installed: left out")
    return found


def measure(found: dict[str, Run], rounds: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """CPU seconds (rounds,) per method, and the best probed products per second by dtype."""
    spent: dict[str, list[float]] = {name: [] for name in found}
    peaks: dict[str, float] = {}
    rng = np.random.default_rng(0)
    repeats = {}
    for name, run in found.items():  # warm up; short calls are repeated to fill the clock
        run()
        start = time.process_time()
        run()
        repeats[name] = max(1, min(50, int(0.01 / max(time.process_time() - start, 1e-5))))
    for _ in range(rounds):
        for dtype in ("f32", "bf16", "int8"):
            rate = _kernel.peak(dtype, seconds=0.005)
            peaks[dtype] = max(peaks.get(dtype, 0.0), rate)
        for name in rng.permutation(list(found)):
            start = time.process_time()
            for _ in range(repeats[name]):
                found[name]()
            spent[name].append((time.process_time() - start) / repeats[name])
    return {name: np.array(times) for name, times in spent.items()}, peaks


def machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return f"{model}, {_kernel.physical_cores()} cores, {', '.join(_kernel.isa_levels())}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time transport of one query and k candidates.")
    parser.add_argument("--patches", type=int, nargs="+", default=[9, 16, 49, 64])
    parser.add_argument("--channels", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the table here")
    options = parser.parse_args()

    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}")
    print(f"NumPy {np.__version__}, k = {options.k}, threads = {options.threads}")
    table = []
    for r in options.patches:
        for c in options.channels:
            query, gallery, u, v = features(r, c, options.k)
            steps = native.solve(query, gallery, u=u, v=v).iterations.mean()
            found = methods(r, c, options.k, options.threads)
            spent, peaks = measure(found, options.rounds)
            base = spent.get("published (PyTorch)")
            print(
                f"\nR = {r}, C = {c}: peak {peaks['f32'] / 1e9:.1f} G multiply-adds/s f32, "
                f"{peaks['bf16'] / 1e9:.1f} bf16, {peaks['int8'] / 1e9:.1f} int8, per core; "
                f"{steps:.1f} iterations"
            )
            heads = f"{'CPU ms: median':>14} {'(quartiles)':>18} {'published /':>12} {'of peak':>8}"
            print(f"  {'':26}{heads}")
            for name, times in spent.items():
                low, mid, high = np.percentile(times, [25, 50, 75]) * 1e3
                ratio = float(np.median(base / times)) if base is not None else float("nan")
                dtype = next((d for d in ("bf16", "int8") if d in name), "f32")
                share = r * r * c * options.k / (mid / 1e3) / peaks[dtype]
                best = r * r * c * options.k / times.min() / peaks[dtype]
                shown = (
                    f"{share:8.0%}" if name.startswith("ours") and "portable" not in name else ""
                )
                print(
                    f"  {name:26}{mid:14.3f} {f'({low:.3f}-{high:.3f})':>18} {ratio:11.1f}x {shown}"
                )
                table.append(
                    {
                        "R": r,
                        "C": c,
                        "method": name,
                        "cpu_ms": mid,
                        "low": low,
                        "high": high,
                        "ratio": ratio,
                        "of_peak": share,
                        "best_of_peak": best,
                    }
                )
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "table": table}, indent=1))


if __name__ == "__main__":
    main()
