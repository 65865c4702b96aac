"""Galleries on disk: the first search, the next ones, and the patches of a shortlist of 100.

    python benchmarks/speed/disk.py --faces 13000 100000 1000000

Real gallery files, written by the store a batch at a time. Embeddings are all different; patches
are those of 500 drawn faces over and over, which costs a reader what different ones cost. "Cold":
nothing of the file is in the system's cache (posix_fadvise) before the call; later
searches find the embeddings in memory. Linux only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from measuring import Clock, load, machine, synthetic

from faceflow import Gallery
from faceflow.arrays import unit
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import FaceRecord
from faceflow.gallery.codec import codec
from faceflow.gallery.identity import make_header
from faceflow.gallery.search import SCAN_AFTER
from faceflow.gallery.stores.opening import create_store, open_store
from faceflow.gallery.stores.store import StoredFace

SIZE = 256
BATCH = 4096
DIGEST = "00" * 32


def write(path: Path, n: int, side: int, channels: int) -> float:
    """Make a gallery of n faces; returns seconds of wall time.

    The 500 drawn faces are coded once, and their rows handed to the store again and again.
    """
    drawn = synthetic(500, side, channels, SIZE)
    payloads = codec("int8", (side, side), channels).encode(drawn)
    rng = np.random.default_rng(1)
    now = datetime.now(UTC)

    def rows(start: int, count: int) -> list[StoredFace]:
        new = unit(rng.standard_normal((count, SIZE), np.float32))
        return [
            StoredFace(
                FaceRecord(
                    0, f"Person {at // 2}", f"{at}.png", f"{at:064x}", (0, 0, 9, 9), 0.9, now
                ),
                new[at - start],
                payloads[at % len(payloads)],
                None,
            )
            for at in range(start, start + count)
        ]

    header = make_header(
        network_name="synthetic",
        digest=DIGEST,
        embedding_size=SIZE,
        grid=(side, side),
        channels=channels,
        codec="int8",
        thumbnails=False,
    )
    start = time.perf_counter()
    create_store(path, header)
    store = open_store(path)
    for at in range(0, n, BATCH):
        store.add(rows(at, min(BATCH, n - at)))
    store.close()
    return time.perf_counter() - start


def forget(path: Path) -> None:
    """Drop the file from the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(path: Path, side: int, channels: int, k: int, rounds: int) -> Clock:
    clock = Clock()
    query = synthetic(1, side, channels, SIZE, seed=3).as_from(features_digest(DIGEST))
    for state in ("cold", "warm"):
        if state == "cold":
            forget(path)
        with Gallery.open(path, readonly=True) as gallery, clock.measure(f"first search, {state}"):
            gallery.search(query, k)
    rng = np.random.default_rng(2)
    with Gallery.open(path, readonly=True) as gallery:
        # So many that embeddings are rounded for the int8 scan, as after some use.
        many = unit(rng.standard_normal((SCAN_AFTER, SIZE), np.float32))
        gallery.search(replace(FaceFeatures.concatenate([query] * SCAN_AFTER), embedding=many), k)
        for _ in range(rounds):
            asked = replace(query, embedding=unit(rng.standard_normal((1, SIZE), np.float32)))
            gallery.search(asked, k)
            with clock.measure("search"):
                ids = gallery.search(asked, k).face_ids[0]
            forget(path)
            for state in ("cold", "warm"):
                with clock.measure(f"fetch {k} faces, {state}"):
                    gallery.features(ids)
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(description="Time search and fetch in galleries on disk.")
    parser.add_argument("--faces", type=int, nargs="+", default=[13_000, 100_000])
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--folder", type=Path, help="where the files are written, then deleted")
    options = parser.parse_args()
    print(f"{machine()}\n{options.side}x{options.side}x{options.channels}, D = {SIZE}")
    for n in options.faces:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "faces.faceflow"
            seconds = write(path, n, options.side, options.channels)
            size = path.stat().st_size
            print(
                f"\n{n:,} faces: {size / 1e9:.2f} GB, {size / n / 1e3:.1f} KB a face, "
                f"written in {seconds:.0f} s; {load()}",
                flush=True,
            )
            print(measure(path, options.side, options.channels, options.k, options.rounds).table())
    print(load())


if __name__ == "__main__":
    main()
