"""Stage 1 with and without the int8 scan, by size of the gallery.

    python benchmarks/speed/stage1.py

Random unit embeddings in memory, which no bound can tell apart well; queries near to faces. Both
ways take turns in an order shuffled anew and must give the same answer to the last bit.
"""

from __future__ import annotations

import argparse

import numpy as np
from measuring import Clock, load, machine, summary

from faceflow.arrays import unit
from faceflow.gallery.rounded import RoundedEmbeddings
from faceflow.gallery.search import exact_search


def main() -> None:
    parser = argparse.ArgumentParser(description="Time stage 1: float32 product or int8 scan.")
    parser.add_argument(
        "--faces", type=int, nargs="+", default=[10_000, 30_000, 100_000, 1_000_000]
    )
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--size", type=int, default=256, help="values in an embedding")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"{machine()}\nD = {options.size}, k = {options.k}, {options.rounds} rounds")
    rng = np.random.default_rng(0)
    whole = np.empty((max(options.faces), options.size), np.float32)
    for at in range(0, len(whole), 50_000):
        rows = whole[at : at + 50_000]
        rows[:] = unit(rng.standard_normal(rows.shape, np.float32))
    for n in options.faces:
        matrix, ids, setup = whole[:n], np.arange(1, n + 1), Clock()
        with setup.measure("round"):
            codes = RoundedEmbeddings.of(matrix)
        print(f"\n{n:,} faces: rounded once in {setup.cpu['round'][0]:.2f} CPU s")
        for q in options.queries:
            noise = rng.standard_normal((q, options.size), np.float32)
            queries = unit(matrix[rng.integers(0, n, q)] + 0.05 * noise)
            kept = np.mean([len(x) for x in codes.survivors(queries, options.k, 2.1e-5)])
            clock, ways = Clock(), {"float32": None, "int8 scan": codes}
            for number in range(options.rounds + 1):
                found = {}
                for way in rng.permutation(list(ways)):
                    with clock.measure(way):
                        found[way] = exact_search(queries, ids, matrix, options.k, codes=ways[way])
                a, b = found.values()
                assert np.array_equal(a.face_ids, b.face_ids)
                assert np.array_equal(a.cosine, b.cosine)
                if number == 0:
                    clock = Clock()  # the first only warmed up
            for way in ways:
                cpu, wall = (np.array(t[way]) / q for t in (clock.cpu, clock.wall))
                print(
                    f"  {q:3} queries at once, {way:10} a query: CPU ms {summary(cpu):24} "
                    f"wall ms {summary(wall)}"
                )
            print(f"      faces left by the scan: {kept:.0f}")
    print(load())


if __name__ == "__main__":
    main()
