"""Time EMD over a whole gallery: exhaustive, certified and cascade, on synthetic faces.

    python benchmarks/speed/gallery.py

The methods take turns for every query, in an order shuffled anew, on the same blocks. Printed
are wall time per query (median, quartiles), the median over queries of its ratio to
exhaustive, the share of faces never solved on the full grid, and the agreement with
exhaustive: the same best face, and the share of its k best that were found.

Faces are drawn as place + person + photo in the patches; the person's part has the weight
``--person``. With a small one every face resembles the query alike and no bound can tell them
apart; how much is pruned on real faces has to be measured there. "by cosine" feeds the blocks
in the order of stage 1's cosine, its time included.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator

import numpy as np

from faceflow.features import FaceFeatures
from faceflow.gallery_ranking import Block, GalleryRanking, emd_over_gallery
from faceflow.transport import Sinkhorn, native

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


def methods(gallery: FaceFeatures, k: int, n: int, dtype: str) -> dict[str, Run]:
    solver = Sinkhorn(dtype=dtype)  # type: ignore[arg-type]
    small = gallery.regrid((4, 4))

    def by_cosine(query: FaceFeatures) -> GalleryRanking:
        order = np.argsort(-(gallery.embedding @ query.embedding[0]), kind="stable")
        blocks = in_blocks(gallery, order)
        return emd_over_gallery(query, blocks, k=k, solver=solver, method="certified")

    return {
        "exhaustive": lambda q: emd_over_gallery(q, in_blocks(gallery), k=k, solver=solver),
        "certified": lambda q: emd_over_gallery(
            q, in_blocks(gallery), k=k, solver=solver, method="certified"
        ),
        "certified by cosine": by_cosine,
        f"cascade n={n}, pooling": lambda q: emd_over_gallery(
            q, in_blocks(gallery), k=k, solver=solver, method="cascade", n=n
        ),
        f"cascade n={n}, pooled": lambda q: emd_over_gallery(
            q,
            in_blocks(small),
            k=k,
            solver=solver,
            method="cascade",
            n=n,
            fetch=lambda ids: gallery[ids],
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time EMD over a whole gallery.")
    parser.add_argument("--faces", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--person", type=float, nargs="+", default=[0.3, 1.0])
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--dtype", default="f32")
    options = parser.parse_args()

    backend = f"native {native.info().active['f32']}" if native.available() else "numpy"
    print(f"{backend}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"8x8x{options.channels}, {options.dtype}, k = {options.k}, {options.queries} queries")
    rng = np.random.default_rng(1)
    for n in options.faces:
        for person in options.person:
            queries, gallery = faces(n, person, options.channels)
            found = methods(gallery, options.k, options.n, options.dtype)
            spent: dict[str, list[float]] = {name: [] for name in found}
            answers: dict[str, list[GalleryRanking]] = {name: [] for name in found}
            for run in found.values():  # warm up
                run(queries[0])
            for query in queries[: options.queries]:
                for name in rng.permutation(list(found)):
                    start = time.perf_counter()
                    answer = found[name](query)
                    spent[name].append(time.perf_counter() - start)
                    answers[name].append(answer)
            print(f"\n{n} faces, person {person:g}")
            print(
                f"  {'':26}{'ms: median':>12} {'(quartiles)':>18} {'of exh.':>8} "
                f"{'unsolved':>9} {'top 1':>6} {'top k':>6}"
            )
            truth = answers["exhaustive"]
            for name, times in spent.items():
                low, mid, high = np.percentile(times, [25, 50, 75]) * 1e3
                ratio = np.median(np.array(times) / np.array(spent["exhaustive"]))
                unsolved = np.mean([a.pruned / a.faces for a in answers[name]])
                first = np.mean(
                    [
                        a.face_ids[0] == b.face_ids[0]
                        for a, b in zip(answers[name], truth, strict=True)
                    ]
                )
                same = np.mean(
                    [
                        np.isin(b.face_ids, a.face_ids).mean()
                        for a, b in zip(answers[name], truth, strict=True)
                    ]
                )
                print(
                    f"  {name:26}{mid:12.1f} {f'({low:.1f}-{high:.1f})':>18} {ratio:8.2f} "
                    f"{unsolved:9.1%} {first:6.2f} {same:6.3f}"
                )


if __name__ == "__main__":
    main()
