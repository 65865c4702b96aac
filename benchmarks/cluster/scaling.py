"""What shards cost: bytes and CPU of a query by their number, loading, memory, coordination.

    python benchmarks/cluster/scaling.py --faces 100000 --shards 1 2 4 8
    python benchmarks/cluster/scaling.py --faces 20000 --ray

On one machine shards give no speed, and this does not measure any: it measures what carries over to
many machines. Galleries are real files of the default network with random faces; bytes are those of
the pickled questions and answers; CPU is that of all threads of the process. ``--ray`` times real
actors: a query to 4 shards against the single gallery, in turn, in one run.
docs/capacity.md is made from these numbers, by ``faceflow.cluster.plan``.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speed"))
from measuring import load, machine, summary  # type: ignore[import-not-found]

from faceflow import Gallery
from faceflow.arrays import unit
from faceflow.cluster.actors import _resident
from faceflow.cluster.part import Part
from faceflow.cluster.replicas import Here, Reply, Shards, answer
from faceflow.cluster.sharded import ShardedGallery
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, GalleryLocation
from faceflow.gallery.stores.opening import open_store
from faceflow.matching.identification import identify
from faceflow.networks import FaceNetwork, load_network

DRAWN = 200


def faces(network: FaceNetwork, n: int, seed: int) -> FaceFeatures:
    """Random faces with the network's shapes."""
    spec, rng = network.spec, np.random.default_rng(seed)
    maps = rng.standard_normal((1, spec.channels, *spec.grid))
    maps = maps + rng.standard_normal((n, spec.channels, *spec.grid))
    embedding = rng.standard_normal((n, spec.embedding_size))
    return FaceFeatures.from_maps(embedding, maps, digest=features_digest(network.digest))


def write(path: Path, network: FaceNetwork, n: int) -> None:
    """A gallery of n faces, two a person: embeddings all different, patches of a few faces."""
    drawn, rng = faces(network, DRAWN, 1), np.random.default_rng(2)

    def items() -> Iterator[Enrolment]:
        for start in range(0, n, DRAWN):
            new = rng.standard_normal((DRAWN, network.spec.embedding_size), np.float32)
            block = replace(drawn, embedding=unit(new))
            for at in range(start, min(start + DRAWN, n)):
                yield Enrolment(f"Person {at // 2}", "x", f"{at:064x}", block[at - start])

    with Gallery.open_or_create(path, network, thumbnails=False) as gallery:
        gallery.enroll(items(), batch=2000)


class Metered:
    """A replica in this process whose bytes and CPU are counted."""

    def __init__(self, inner: Here, book: dict[str, float]) -> None:
        self.name, self._inner, self._book = inner.name, inner, book

    def ask(self, method: str, args: Sequence[Any], more: Mapping[str, Any]) -> Future[Reply]:
        sent = pickle.dumps((method, args, more), 5)
        start = time.process_time()
        reply = answer(self._inner.part, method, args, more)
        self._book[f"{method} CPU"] += time.process_time() - start
        self._book[f"{method} sent"] += len(sent)
        self._book[f"{method} got"] += len(pickle.dumps(reply, 5))
        self._book[f"{method} asked"] += 1
        future: Future[Reply] = Future()
        future.set_result(reply)
        return future


def in_process(path: Path, queries: FaceFeatures, numbers: Sequence[int]) -> None:
    print("\nloading, one shard of all faces in turn with none:")
    for hold in ("embeddings", "patches"):
        before, start = _resident(), time.process_time()
        part = Part(open_store(path, readonly=True), 0, 1, hold=hold)  # type: ignore[arg-type]
        standing = part.catch_up()
        spent = time.process_time() - start
        print(
            f"  hold {hold}: {standing.faces / spent:,.0f} faces a CPU second, arrays "
            f"{standing.nbytes / standing.faces:,.0f} bytes a face, process grew by "
            f"{(_resident() - before) / standing.faces:,.0f} bytes a face"
        )
        part.close()
        del part
    print("\na query (default options), medians:")
    print(f"  {'':6} {'CPU ms':>31} {'bytes out':>22} {'bytes back':>20} {'shards':>8}")
    print(
        f"  {'shards':6} {'stage 1':>14} {'stage 2':>7} {'front':>8} {'stage 1':>13} {'2':>8} "
        f"{'1':>11} {'2':>8} {'asked in 2':>11}"
    )
    with Gallery.open(path, readonly=True) as single:
        identify(queries[0], single)
        spent = []
        for query in queries:
            start = time.process_time()
            identify(query, single)
            spent.append(time.process_time() - start)
        print(f"  single gallery: CPU ms {summary(spent)}")
    for n in numbers:
        book: dict[str, float] = {}
        parts = [Part(open_store(path, readonly=True), i, n) for i in range(n)]
        groups = [[Metered(Here(f"{i}", part), book)] for i, part in enumerate(parts)]
        front = ShardedGallery(open_store(path, readonly=True), Shards(groups))
        names = ("CPU", "sent", "got", "asked")
        kinds = [f"{method} {name}" for method in ("shortlist", "score") for name in names]
        book |= dict.fromkeys(kinds, 0.0)
        identify(queries[0], front)
        rows = []
        for query in queries:
            book |= dict.fromkeys(kinds, 0.0)
            start = time.process_time()
            identify(query, front)
            whole = time.process_time() - start
            rows.append([*(book[kind] for kind in kinds), whole])
        low = dict(zip([*kinds, "whole"], np.median(rows, axis=0), strict=True))
        rest = low["whole"] - low["shortlist CPU"] - low["score CPU"]
        print(
            f"  {n:6} {low['shortlist CPU'] * 1e3:14.2f} {low['score CPU'] * 1e3:7.2f} "
            f"{rest * 1e3:8.2f} {low['shortlist sent']:13,.0f} {low['score sent']:8,.0f} "
            f"{low['shortlist got']:11,.0f} {low['score got']:8,.0f} {low['score asked']:11.0f}"
        )
        front.close()
        for part in parts:
            part.close()


def with_ray(path: Path, queries: FaceFeatures, shards: int, rounds: int) -> None:
    from faceflow.cluster import deployment
    from faceflow.cluster.joining import LOCAL, joined

    with joined(LOCAL, cpus=shards):
        place = GalleryLocation(path)
        deployment.start(place, deployment.Layout(shards, 1))
        wall: dict[str, list[float]] = {"single": [], "shards": []}
        cpu: dict[str, list[float]] = {"single": [], "shards": []}
        with (
            Gallery.open(path, readonly=True) as single,
            deployment.open_sharded(place) as front,
        ):
            for i in range(rounds + 2):
                for name, gallery in (("single", single), ("shards", front)):
                    start, spent = time.perf_counter(), time.process_time()
                    identify(queries[i % len(queries)], gallery)
                    if i >= 2:
                        wall[name].append(time.perf_counter() - start)
                        cpu[name].append(time.process_time() - spent)
            deployment.drain(front._store)
    print(f"\n{shards} shards on Ray and the single gallery in turn, {rounds} times:")
    for name in wall:
        print(f"  {name}: wall ms {summary(wall[name])}, CPU ms here {summary(cpu[name])}")
    cost = np.array(wall["shards"]) - np.array(wall["single"])
    print(f"  coordination, wall ms: {summary(cost)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what shards cost.")
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--ray", action="store_true", help="time 4 shards on Ray instead")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="where the file is written, then deleted")
    options = parser.parse_args()
    network = load_network()
    queries = faces(network, options.queries, 3)
    print(machine())
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "faces.faceflow"
        write(path, network, options.faces)
        size = path.stat().st_size
        print(
            f"{options.faces:,} faces, {size / options.faces:,.0f} bytes a face on disk; {load()}"
        )
        if options.ray:
            with_ray(path, queries, 4, options.rounds)
        else:
            in_process(path, queries, options.shards)
    print(load())


if __name__ == "__main__":
    main()
