"""How often bf16 and int8 rank real faces as float32 does.

    python benchmarks/speed/agreement.py FOLDER

FOLDER holds features of real faces, one .npz each with `embedding` (1, D) and `maps`
(1, C, h, w), as benchmarks/accuracy/covered.py leaves them in its --cache (maps in float16;
photos clean, with real covers, or with drawn ones; which is which is not recorded, and agreement
needs no names). Each query's candidates are its 100 nearest other faces by cosine; a photo and
its covered copy may both be there. Ranked is what stage 2 adds, the EMD similarity alone
("emd"), and the final score with alpha 0.5 ("score"); ties keep stage 1's order. All formats go
through the compiled kernel, weights computed in it, query and gallery both rounded.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
from measuring import Clock, load, machine

from faceflow.features import FaceFeatures
from faceflow.matching.transport import encode, native


def read(folder: Path, most: int, seed: int) -> tuple[FaceFeatures, str]:
    """Up to ``most`` faces at random, and what was read in words."""
    files = sorted(folder.glob("*.npz"))
    order = np.random.default_rng(seed).permutation(len(files))
    embeddings, maps, faceless, unreadable = [], [], 0, 0
    for n in order:
        if len(embeddings) == most:
            break
        try:
            with np.load(files[n]) as kept:
                if "maps" not in kept:
                    faceless += 1
                    continue
                embeddings.append(kept["embedding"])
                maps.append(kept["maps"].astype(np.float32))
        except (zipfile.BadZipFile, EOFError, ValueError, OSError):
            unreadable += 1  # being written right now, or cut short
    if len(embeddings) < 200:
        raise SystemExit(f"{folder} holds {len(embeddings)} faces; 200 are needed")
    said = (
        f"{len(embeddings)} faces at random from {len(files)} files in {folder.name}/ "
        f"({faceless} without a face, {unreadable} unreadable)"
    )
    return FaceFeatures.from_maps(np.concatenate(embeddings), np.concatenate(maps)), said


def kendall(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(Q,) Kendall's tau-b of Q pairs of score lists (Q, k)."""
    one, other = np.triu_indices(a.shape[1], 1)
    first, second = (np.sign(x[:, one] - x[:, other]).astype(np.int8) for x in (a, b))
    ties = np.sqrt(np.count_nonzero(first, axis=1) * np.count_nonzero(second, axis=1))
    return (first * second).sum(axis=1, dtype=np.int64) / ties


def main() -> None:
    parser = argparse.ArgumentParser(description="Agreement of bf16 and int8 with float32.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=int, default=4000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    faces, said = read(options.folder, options.faces, options.seed)
    queries = min(options.queries, len(faces))
    _, r, c = faces.patches.shape
    print(f"{said}; R = {r}, C = {c}; {queries} queries, k = {options.k}")
    cosine = faces.embedding[:queries] @ faces.embedding.T
    cosine[np.arange(queries), np.arange(queries)] = -2  # not itself
    near = np.argsort(-cosine, axis=1, kind="stable")[:, : options.k].astype(np.int64)
    near_cosine = np.take_along_axis(cosine, near, axis=1).astype(np.float64)

    print("\n  targets for int8: top-1 = 1, top-10 >= 0.995, tau >= 0.998")
    print(
        f"  {'':9}{'':7}{'':6}{'top-1':>8}{'differ':>8}{'top-10':>9}{'tau mean':>10}"
        f"{'tau 1%':>9}{'|diff| max':>12}{'margin lost':>13}"
    )
    stored = {dtype: encode(faces.patches, dtype) for dtype in ("f32", "bf16", "int8")}
    clock = Clock()
    for weighting in native.WEIGHTINGS:
        emd: dict[str, np.ndarray] = {}
        for dtype, codes in stored.items():
            parts = []
            with clock.measure(f"{weighting} {dtype}, all queries"):
                for start in range(0, queries, 100):
                    block = slice(start, min(start + 100, queries))
                    parts.append(
                        native.solve(
                            faces.patches[block],
                            codes,
                            weighting=weighting,
                            pooled_query=faces.pooled[block],
                            pooled_gallery=faces.pooled,
                            candidates=near[block],
                        ).similarity
                    )
            emd[dtype] = np.concatenate(parts)
        for kind in ("emd", "score"):
            scores = {
                d: e if kind == "emd" else 0.5 * e + 0.5 * near_cosine for d, e in emd.items()
            }
            exact = np.argsort(-scores["f32"], axis=1, kind="stable")
            for dtype in ("bf16", "int8"):
                rough = np.argsort(-scores[dtype], axis=1, kind="stable")
                differ = np.flatnonzero(exact[:, 0] != rough[:, 0])
                top10 = np.mean(
                    [
                        len(set(a) & set(b)) / 10
                        for a, b in zip(exact[:, :10], rough[:, :10], strict=True)
                    ]
                )
                tau = kendall(scores["f32"], scores[dtype])
                # How far apart float32 itself holds the two winners where they differ.
                lost = scores["f32"][differ, exact[differ, 0]]
                lost = lost - scores["f32"][differ, rough[differ, 0]]
                print(
                    f"  {weighting:9}{kind:7}{dtype:6}{1 - len(differ) / queries:8.4f}"
                    f"{len(differ):8d}{top10:9.4f}{np.mean(tau):10.4f}"
                    f"{np.percentile(tau, 1):9.4f}{np.abs(emd[dtype] - emd['f32']).max():12.1e}"
                    f"{lost.max(initial=0):13.1e}",
                    flush=True,
                )
    print(f"\n  CPU seconds of {queries} queries x {options.k} pairs, one pass each:")
    for name, times in clock.cpu.items():
        print(f"  {name:32}{times[0]:8.2f}")
    print(load())


if __name__ == "__main__":
    main()
