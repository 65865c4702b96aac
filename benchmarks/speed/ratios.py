"""The ratios that must not get worse, each from ways in turn within one run; --compare checks them.

    python3 dev.py bench
    python3 dev.py bench --compare
    python benchmarks/speed/ratios.py --write

Times differ between machines and with their load; how much faster one way is than another differs
little. Every ratio is that of CPU times of two ways on the same random faces, median over rounds in
which both run, in an order shuffled anew. --compare holds them against those kept beside this file
for the same instruction set and fails where one has become worse by more than --margin; a machine
whose instruction set is not kept is held against nothing, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported

import numpy as np
from measuring import load, machine, synthetic

from faceflow.features import FaceFeatures
from faceflow.matching.covers import CoverModel, PatchModel
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import CodedFaces, rerank
from faceflow.matching.transport import Sinkhorn, encode, native

KEPT = Path(__file__).with_name("ratios.json")
SIDE, CHANNELS, EMBEDDING, K = 8, 128, 256, 100


@dataclass(frozen=True)
class Kept:
    """Faces as an int8 gallery holds them, with the time of reading left out."""

    whole: FaceFeatures
    coded: CodedFaces
    digest: str | None = None
    sizes: tuple[int, int] = (SIDE * SIDE, CHANNELS)
    grid: tuple[int, int] = (SIDE, SIDE)

    def features(self, *, landmarks: bool) -> FaceFeatures:
        return self.whole

    def codes(self) -> CodedFaces:
        return self.coded


def patch_model() -> PatchModel:
    """A model of the default network's sizes, with random numbers."""
    rng = np.random.default_rng(0)
    r = SIDE * SIDE
    cover = CoverModel(
        rng.standard_normal((r, CHANNELS)).astype(np.float32) / 100,
        np.zeros(r, np.float32),
        np.zeros((r, CHANNELS), np.float32),
    )
    scale = np.float32(1 / np.sqrt(CHANNELS))
    projection = rng.standard_normal((r, CHANNELS, EMBEDDING)).astype(np.float32) * scale
    return PatchModel((SIDE, SIDE), projection, cover)


def ways() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    model = patch_model()
    query, faces = (synthetic(n, SIDE, CHANNELS, EMBEDDING, seed=n) for n in (1, K))
    coded = CodedFaces(faces.embedding, encode(faces.patches, "int8"), faces.pooled, faces.norms)
    kept = Kept(faces, coded)
    half = np.ones(SIDE * SIDE, np.float32)
    half[SIDE * SIDE // 2 :] = 1e-3  # as a mask leaves it
    made: dict[str, Callable[[], object]] = {}
    for dtype in ("int8", "f32"):
        solver = Sinkhorn(dtype=dtype, threads=1)
        default = MatchOptions(
            0.2,
            "uncovered",
            solver=solver,
            patches="projected",
            visible_share=0.3,
            model=model,
        )
        paper = MatchOptions(0.7, "apc", solver=solver)
        made[f"default {dtype}"] = lambda o=default: rerank(query, kept, o)
        made[f"paper {dtype}"] = lambda o=paper: rerank(query, kept, o)
    numpy = Sinkhorn(backend="numpy", dtype="f32")
    even = np.ones(SIDE * SIDE, np.float32)
    made["numpy"] = lambda: numpy(query.patches[0], faces.patches, even, even)
    for dtype in ("int8", "f32"):
        codes = encode(faces.patches, dtype)
        made[f"uneven {dtype}"] = lambda c=codes: Sinkhorn(threads=1)(
            query.patches[0], c, half, half
        )
        made[f"kernel {dtype}"] = lambda c=codes: Sinkhorn(threads=1)(
            query.patches[0], c, even, even
        )
    return made


RATIOS = {
    "default score, int8 / float32": ("default int8", "default f32"),
    "default score / the paper's way, both int8": ("default int8", "paper int8"),
    "transport with uneven weights / even, int8": ("uneven int8", "kernel int8"),
    "transport, float32 kernel / NumPy": ("kernel f32", "numpy"),
    "transport, int8 kernel / float32 kernel": ("kernel int8", "kernel f32"),
}
"""What is printed: the CPU time of one way by that of another; less is better."""


def measure(rounds: int) -> dict[str, tuple[float, float, float]]:
    """Median and quartiles of every ratio over the rounds."""
    timed, rng = ways(), np.random.default_rng(1)
    spent: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name in rng.permutation(list(timed)):
            start = time.process_time()
            timed[name]()
            if number:  # the first round warms up
                spent[name].append(time.process_time() - start)
    found = {}
    for name, (one, other) in RATIOS.items():
        low, mid, high = np.percentile(np.divide(spent[one], spent[other]), [25, 50, 75])
        found[name] = (float(mid), float(low), float(high))
    for name, seconds in spent.items():
        print(f"  {name:14}{np.median(seconds) * 1e3:8.2f} CPU ms")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Ratios of CPU times that must not get worse.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--compare", action="store_true", help="fail where one has become worse")
    parser.add_argument("--margin", type=float, default=1.6, help="how much worse is borne")
    parser.add_argument("--write", action="store_true", help="keep them for this instruction set")
    options = parser.parse_args()
    print(machine())
    level = native.active_level() if native.available() else "numpy"
    print(f"instruction set: {level}; one thread, k = {K}, {options.rounds} rounds in turns")
    found = measure(options.rounds)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    before, worse = kept.get(level, {}), []
    for name, (mid, low, high) in found.items():
        was = before.get(name)
        print(
            f"  {name:44}{mid:7.3f} ({low:.3f}-{high:.3f}){'' if was is None else f'  kept {was}'}"
        )
        if was is not None and mid > was * options.margin:
            worse.append(name)
    print(load())
    if options.write:
        kept[level] = {name: round(mid, 3) for name, (mid, _, _) in found.items()}
        KEPT.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if options.compare and not before:
        print(f"nothing is kept for {level}: compared with nothing")
    if options.compare and worse:
        print(f"WORSE by more than {options.margin} times: {'; '.join(worse)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
