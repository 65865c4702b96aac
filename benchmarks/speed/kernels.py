"""Two builds of the compiled kernel against each other: time, and whether the bits are the same.

    python benchmarks/speed/kernels.py OLD.so NEW.so

For a change that must not cost time. Both are loaded into one process and take turns, in an order
shuffled anew every round; printed is the median over the rounds of NEW's CPU time by OLD's, with
its quartiles, so that other work on the machine falls on both.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import time
from typing import Any

import numpy as np
from measuring import load, machine

from faceflow.arrays import unit
from faceflow.matching.transport import encode


def kernel(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("_kernel", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problem(level: str, dtype: Any, weighting: str, r: int, c: int, k: int) -> dict[str, Any]:
    """Arguments of one solve, with its outputs."""
    rng = np.random.default_rng(r * c)
    common = rng.standard_normal(c)
    weights = rng.uniform(size=(1, k, r)).astype(np.float32) if weighting == "given" else None
    pooled = unit(common + rng.standard_normal((k + 1, c))).astype(np.float32)
    return {
        "query": unit(common + rng.standard_normal((1, r, c))).astype(np.float32),
        "gallery": encode(unit(common + rng.standard_normal((k, r, c))), dtype),
        "faces": k,
        "gallery_patches": r,
        "dtype": dtype,
        "scales": None,
        "candidates": None,
        "weighting": weighting,
        "u": weights,
        "v": weights,
        "pooled_query": pooled[:1] if weighting == "apc" else None,
        "pooled_gallery": pooled[1:] if weighting == "apc" else None,
        "epsilon": 0.05,
        "tolerance": 1e-3,
        "max_iterations": 1000,
        "threads": 1,
        "isa": level,
        "similarity": np.empty((1, k)),
        "iterations": np.empty((1, k), np.int32),
        "marginal_error": np.empty((1, k), np.float32),
        "status": np.empty((1, k), np.int8),
        "flow": None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratio of two builds of the kernel.")
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--k", type=int, default=100)
    options = parser.parse_args()
    builds = {"old": kernel(options.old), "new": kernel(options.new)}
    shared = [x for x in builds["old"].isa_levels() if x in builds["new"].isa_levels()]
    print(machine())
    print("CPU time of new / old: median (quartiles)")
    rng = np.random.default_rng(0)
    cases = itertools.product(shared, ("f32", "bf16", "int8"), ((49, 128), (64, 512)))
    everything = []
    for level, dtype, (r, c) in cases:
        if builds["new"].active_isa(dtype, isa=level) != level:
            continue  # another level's kernel, measured there
        weighting = "apc" if r == 64 else "given"
        task = problem(level, dtype, weighting, r, c, options.k)
        spent: dict[str, list[float]] = {"old": [], "new": []}
        answers = {}
        for number in range(options.rounds + 1):
            for name in rng.permutation(list(builds)):
                start = time.thread_time()
                builds[name].solve(**task)
                if number:  # the first call warms up
                    spent[name].append(time.thread_time() - start)
                answers[name] = task["similarity"].tobytes()
        low, mid, high = np.percentile(np.divide(spent["new"], spent["old"]), [25, 50, 75])
        everything.append(mid)
        same = "same bits" if answers["old"] == answers["new"] else "OTHER BITS"
        print(
            f"  {level:11}{dtype:5}R={r} C={c} {weighting:6} {mid:.3f} "
            f"({low:.3f}-{high:.3f}) {same}"
        )
    print(f"all: {np.median(everything):.3f}; {load()}")


if __name__ == "__main__":
    main()
