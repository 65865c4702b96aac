"""Every face of an LFW-sized set against every other: the run the paper quotes 60 s of GPU for.

    python benchmarks/speed/headline.py                  # all 13,214 queries
    python benchmarks/speed/headline.py --queries 1000   # a share, and what it would come to

13,233 synthetic faces of 8x8 patches and 512 channels, embeddings of 512. Stage 1: cosine of
each query with all faces (float32 matrix product), best 100. Stage 2: APC weights and transport
of each query with its 100 in int8, two threads. Timed: both stages, query rounding and weights
included. Not timed: making up the features, and rounding the gallery, which happens at
enrolment. Every embedding is drawn anew; patches are drawn for 512 faces and one block of queries
and repeated in memory of their own (drawing them all takes longer than the run itself).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# Before NumPy is imported: stage 1 is spread over threads here, not inside each product.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
from measuring import load, machine, synthetic  # noqa: E402

from faceflow.arrays import unit  # noqa: E402
from faceflow.matching.transport import encode, native  # noqa: E402

FACES, QUERIES, SIDE, CHANNELS, EMBEDDING = 13_233, 13_214, 8, 512, 512
DISTINCT = 512


def main() -> None:
    parser = argparse.ArgumentParser(description="13,214 queries against 13,233 faces.")
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--block", type=int, default=128, help="queries per call")
    options = parser.parse_args()
    queries = min(options.queries, QUERIES)
    print(machine())

    r = SIDE * SIDE
    codes = np.empty((FACES, r, CHANNELS), dtype=np.int8)
    pooled = np.empty((FACES, CHANNELS), dtype=np.float32)
    drawn = synthetic(DISTINCT, SIDE, CHANNELS, EMBEDDING)
    small = encode(drawn.patches, "int8")
    for start in range(0, FACES, DISTINCT):
        rows = slice(start, min(start + DISTINCT, FACES))
        codes[rows] = small[: rows.stop - start]
        pooled[rows] = drawn.pooled[: rows.stop - start]
    noise = np.random.default_rng(1)
    embedding = unit(noise.standard_normal((FACES, EMBEDDING), np.float32))
    query = synthetic(options.block, SIDE, CHANNELS, EMBEDDING, seed=2)
    print(f"gallery: {codes.nbytes / 1e6:.0f} MB of int8 patches; {load()}", flush=True)

    spent = {"stage 1": np.zeros(2), "stage 2": np.zeros(2)}
    rates: list[float] = []
    iterations = 0.0
    for start in range(0, queries, options.block):
        count = min(options.block, queries - start)
        # Each query is a noisy copy of a gallery face, as another photo of a person would be.
        near = np.arange(start, start + count) % FACES
        asked = unit(embedding[near] + 0.03 * noise.standard_normal((count, EMBEDDING)))

        begin = np.array([time.perf_counter(), time.process_time()])
        best = np.empty((count, options.k), dtype=np.int64)

        def first(part: np.ndarray, best: np.ndarray = best, asked: np.ndarray = asked) -> None:
            cosine = asked[part] @ embedding.T
            best[part] = np.argpartition(-cosine, options.k - 1, axis=1)[:, : options.k]

        with ThreadPoolExecutor(options.threads) as pool:
            list(pool.map(first, np.array_split(np.arange(count), options.threads)))
        middle = np.array([time.perf_counter(), time.process_time()])
        plan = native.solve(
            query.patches[:count],
            codes,
            weighting="apc",
            pooled_query=query.pooled[:count],
            pooled_gallery=pooled,
            candidates=best,
            threads=options.threads,
        )
        end = np.array([time.perf_counter(), time.process_time()])
        spent["stage 1"] += middle - begin
        spent["stage 2"] += end - middle
        rates.append(float((end - begin)[1]) / count)
        iterations += float(plan.iterations.sum())

    print(
        f"{queries} queries x {FACES} faces, k = {options.k}, {options.threads} threads, int8, "
        f"{iterations / queries / options.k:.1f} iterations a pair"
    )
    total = sum(spent.values(), np.zeros(2))
    for name, (wall, cpu) in {**spent, "both": total}.items():
        print(f"  {name:10}{wall:9.2f} s wall{cpu:9.2f} s CPU")
    low, mid, high = np.percentile(rates, [25, 50, 75]) * 1e3
    print(f"  CPU ms a query, by block: median {mid:.2f} ({low:.2f}-{high:.2f})")
    if queries < QUERIES:
        wall, cpu = total * QUERIES / queries
        print(f"  EXTRAPOLATED to {QUERIES} queries: {wall:.1f} s wall, {cpu:.1f} s CPU")
    cpu = total[1] * QUERIES / queries
    print(
        f"  CPU time spread evenly over {options.threads} idle cores: {cpu / options.threads:.1f} s"
    )
    print(load())


if __name__ == "__main__":
    sys.exit(main())
