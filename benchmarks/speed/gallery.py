"""Time EMD over a whole gallery: exhaustive, certified and cascade, on synthetic faces.

    python benchmarks/speed/gallery.py

The methods take turns for every query, in an order shuffled anew, on the same blocks and one
thread. Printed are CPU time per query (median, quartiles), the median over queries of its
ratio to exhaustive, the share of faces never solved on the full grid, and the agreement with
exhaustive: the same best face, and the share of its k best that were found. The cascade pools
the patches while it runs ("pooling") or gets them pooled before and fetches the best ("pooled").

Faces are drawn as place + person + photo in the patches; the person's part has the weight
``--person``. With a small one every face resembles the query alike and no bound can tell them
apart; how much is pruned on real faces has to be measured there. "by cosine" feeds the blocks
in the order of stage 1's cosine, its time included.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

# Before anything that starts a thread pool is imported.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402

from faceflow.features import FaceFeatures  # noqa: E402
from faceflow.gallery_ranking import Block, GalleryRanking, emd_over_gallery  # noqa: E402
from faceflow.transport import Sinkhorn, native  # noqa: E402

BLOCK = 500
Run = Callable[[FaceFeatures], GalleryRanking]


def faces(n: int, person: float, channels: int) -> tuple[FaceFeatures, FaceFeatures]:
    """Twenty queries, and n gallery faces with five photos of each person."""
    rng = np.random.default_rng(0)
    place = rng.standard_normal((channels, 8, 8), dtype=np.float32)
    people = rng.standard_normal((n // 5, channels, 8, 8), dtype=np.float32)
    people += rng.standard_normal((n // 5, channels, 1, 1), dtype=np.float32)

    def photos(who: np.ndarray) -> FaceFeatures:
        noise = rng.standard_normal((len(who), channels, 8, 8), dtype=np.float32)
        maps = place + person * people[who] + 0.7 * noise
        return FaceFeatures.from_maps(maps.mean(axis=(2, 3)) - place.mean(axis=(1, 2)), maps)

    parts = [photos(np.arange(at, min(at + BLOCK, n)) // 5) for at in range(0, n, BLOCK)]
    return photos(rng.integers(n // 5, size=20)), FaceFeatures.concatenate(parts)


def in_blocks(gallery: FaceFeatures, order: np.ndarray | None = None) -> Iterator[Block]:
    ids = np.arange(len(gallery)) if order is None else order
    for at in range(0, len(gallery), BLOCK):
        rows = ids[at : at + BLOCK]
        # Slices are views; rows in another order are copied, as a gallery file would read them.
        yield rows, gallery[at : at + BLOCK] if order is None else gallery[rows]


def methods(
    gallery: FaceFeatures, small: FaceFeatures, k: int, n: int, weighting: str, epsilon: float
) -> dict[str, Run]:
    solver = Sinkhorn(epsilon, threads=1)

    def rank(query: FaceFeatures, blocks: Iterator[Block], **options: Any) -> GalleryRanking:
        return emd_over_gallery(query, blocks, k=k, weighting=weighting, solver=solver, **options)

    def by_cosine(query: FaceFeatures) -> GalleryRanking:
        order = np.argsort(-(gallery.embedding @ query.embedding[0]), kind="stable")
        return rank(query, in_blocks(gallery, order), method="certified")

    def pooled(query: FaceFeatures) -> GalleryRanking:
        return rank(query, in_blocks(small), method="cascade", n=n, fetch=lambda ids: gallery[ids])

    return {
        "exhaustive": lambda q: rank(q, in_blocks(gallery)),
        "certified": lambda q: rank(q, in_blocks(gallery), method="certified"),
        "certified by cosine": by_cosine,
        f"cascade n={n}, pooling": lambda q: rank(q, in_blocks(gallery), method="cascade", n=n),
        f"cascade n={n}, pooled": pooled,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time EMD over a whole gallery.")
    parser.add_argument("--faces", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--person", type=float, default=1.0)
    parser.add_argument("--queries", type=int, default=3)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--weighting", default="apc")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.05, 0.01])
    options = parser.parse_args()

    backend = f"native {native.info().active['f32']}" if native.available() else "numpy"
    print(f"{backend}, one thread of {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"8x8x{options.channels}, {options.weighting}, {options.queries} queries")
    for n in options.faces:
        queries, gallery = faces(n, options.person, options.channels)
        small = gallery.regrid((4, 4))
        for epsilon, k in itertools.product(options.epsilon, options.k):
            print(f"\n{n} faces, epsilon {epsilon:g}, k = {k}")
            found = methods(gallery, small, k, options.n, options.weighting, epsilon)
            compare(found, queries[: options.queries])


def compare(found: dict[str, Run], queries: FaceFeatures) -> None:
    """Time the methods in turns and print one line for each."""
    rng = np.random.default_rng(1)
    spent: dict[str, list[float]] = {name: [] for name in found}
    answers: dict[str, list[GalleryRanking]] = {name: [] for name in found}
    for query in queries:
        for name in rng.permutation(list(found)):
            start = time.process_time()
            answers[name].append(found[name](query))
            spent[name].append(time.process_time() - start)
    print(
        f"  {'':24}{'CPU ms: median':>15} {'(quartiles)':>18} {'/ exhaustive':>13} "
        f"{'unsolved':>9} {'top 1':>6} {'top k':>6}"
    )
    truth = answers["exhaustive"]
    for name, times in spent.items():
        low, mid, high = np.percentile(times, [25, 50, 75]) * 1e3
        ratio = np.median(np.array(times) / np.array(spent["exhaustive"]))
        unsolved = np.mean([a.pruned / a.faces for a in answers[name]])
        pairs = list(zip(answers[name], truth, strict=True))
        first = np.mean([a.face_ids[0] == b.face_ids[0] for a, b in pairs])
        same = np.mean([np.isin(b.face_ids, a.face_ids).mean() for a, b in pairs])
        print(
            f"  {name:24}{mid:15.1f} {f'({low:.1f}-{high:.1f})':>18} {ratio:13.2f} "
            f"{unsolved:9.1%} {first:6.2f} {same:6.3f}"
        )


if __name__ == "__main__":
    main()
