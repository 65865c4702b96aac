"""Where the time of one identification goes, and how many photos a minute a batch does.

    python benchmarks/speed/endtoend.py
    python benchmarks/speed/endtoend.py --photos 1000 --faces 13000

Photos are the drawn faces of the demo, 256 px; the gallery holds random features in the
sizes of the default network, which cost what real ones cost. Needs `faceflow models pull`.
Stages are timed one by one for each photo, in the order identify runs them; "identify" is the
public call, which is stage 1 + fetch + names + stage 2 (contributions, visible cosine, transport),
with the network's own options: in int8, as galleries answer, and in float32; "masked" is the same
photo with a drawn mask; "the paper's way" is alpha 0.7 and APC on raw patches. Printed last are the
ratios to the paper's way in int8 of the same photo.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Before NumPy is imported: its products wait for each other in a loop, which counts as CPU time.
if "--threads" not in sys.argv:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from measuring import Clock, load, machine, synthetic

from faceflow import FaceAnalyzer, Gallery, MatchOptions, identify
from faceflow.demo import PEOPLE
from faceflow.explain import explain_pair, flow_picture
from faceflow.faces.alignment import align, template
from faceflow.faces.detectors import load_detector
from faceflow.faces.images import load_image
from faceflow.gallery import Enrolment
from faceflow.matching.score import prepare
from faceflow.matching.transport import Sinkhorn
from faceflow.matching.weighting import uncovered
from faceflow.networks import FaceNetwork, load_network
from faceflow.occlusion import occlude

DEFAULT, MASKED, PAPER = "identify", "identify, masked", "the paper's way"


def enroll(path: Path, network: FaceNetwork, faces: int) -> Gallery:
    spec = network.spec
    gallery = Gallery.open_or_create(path, network, thumbnails=False)

    def items() -> Iterator[Enrolment]:
        for start in range(0, faces, 500):
            block = synthetic(
                min(500, faces - start), spec.grid[0], spec.channels, spec.embedding_size, start
            )
            for i, one in enumerate(block.as_from(gallery.features_digest), start):
                yield Enrolment(f"Person {i // 2}", f"{i}.png", f"{i:064x}", one)

    gallery.enroll(items(), batch=500)
    return gallery


def breakdown(photos: list[Path], gallery: Gallery, network: FaceNetwork, threads: int) -> Clock:
    detector, clock = load_detector(threads=threads), Clock()
    defaults, spec = network.spec.defaults, network.spec
    solver, exact = (Sinkhorn(threads=threads, dtype=dtype) for dtype in ("int8", "f32"))
    options, wide = gallery.options(solver=solver), gallery.options(solver=exact)
    paper = MatchOptions(0.7, "apc", solver=solver)
    assert options.model is not None
    rounded = options.model.rounded
    for number, path in enumerate([photos[0], *photos]):
        if number == 1:
            clock = Clock()  # the first photo only warmed everything up
        with clock.measure("decode"):
            image = load_image(path)
        with clock.measure("detect"):
            found = detector.detect(image)
        if not found:
            continue
        with clock.measure("align"):
            crop = align(image, found[0].landmarks, template(spec.template))
        with clock.measure("embed"):
            query = network.embed(crop[None])
        with clock.measure("stage 1"):
            ids = gallery.search(query, defaults.k).face_ids[0]
        with gallery.snapshot() as view:
            with clock.measure("fetch"):
                faces = view.codes(ids)
            with clock.measure("names"):
                view.person_of(ids)
        with clock.measure("contributions"):
            first = prepare(query, options).contributions
            second = rounded.contributions(faces.patches, scales=faces.scales, threads=threads)
        assert first is not None
        with clock.measure("visible cosine"):
            rounded.visible_cosine(first, second, threads=threads)
        with clock.measure("transport"):
            u, v = uncovered(first.visibility, second.visibility)
            solver(first.unit_patches()[0], second.codes, u, v)
        with clock.measure("explain best"):
            flow_picture(crop, crop, explain_pair(query, gallery.features(ids[:1]), options))
        landmarks = found[0].landmarks
        covered = occlude("mask", image, landmarks).image
        masked = network.embed(align(covered, landmarks, template(spec.template))[None])
        with clock.measure(DEFAULT):
            identify(query, gallery, options)
        with clock.measure(MASKED):
            identify(masked, gallery, options)
        with clock.measure("identify, float32"):
            identify(query, gallery, wide)
        with clock.measure(PAPER):
            identify(query, gallery, paper)
    for way in (DEFAULT, MASKED, "identify, float32"):
        low, mid, high = np.percentile(np.divide(clock.cpu[way], clock.cpu[PAPER]), [25, 50, 75])
        print(f"  {way} / {PAPER}: {mid:.2f} ({low:.2f}-{high:.2f}) of CPU time")
    return clock


def embedding(crop: np.ndarray, rounds: int) -> None:
    networks = {threads: load_network(threads=threads) for threads in (1, 2)}
    clock = Clock()
    for _ in range(rounds + 1):
        for threads, network in networks.items():
            for batch in (1, 8):
                crops = np.repeat(crop[None], batch, axis=0)
                with clock.measure(f"{threads} threads, batch {batch}"):
                    network.embed(crops)
    print(f"\nembedding, {rounds} rounds after one to warm up:")
    for name in clock.wall:
        batch = int(name.rsplit(" ", 1)[1])
        cpu, wall = (np.array(t[name][1:]) for t in (clock.cpu, clock.wall))
        print(
            f"  {name:22}{batch / np.median(wall):8.1f} images/s of wall time (best "
            f"{batch / wall.min():.1f}), {np.median(cpu) / batch * 1e3:8.1f} CPU ms an image"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time one identification, stage by stage.")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--faces", type=int, default=13_000)
    parser.add_argument("--timed", type=int, default=30, help="photos timed stage by stage")
    parser.add_argument("--rounds", type=int, default=5, help="of the embedding benchmark")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print(machine())
    network = load_network(threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        shipped = itertools.cycle(sorted(PEOPLE.glob("*/*.jpg")))
        photos = list(itertools.islice(shipped, options.photos))
        start = time.process_time()
        with enroll(Path(folder) / "people.faceflow", network, options.faces) as gallery:
            print(
                f"{network.spec.name}, {len(gallery)} faces enrolled (with making them up: "
                f"{time.process_time() - start:.0f} CPU s), k = {network.spec.defaults.k}, "
                f"{options.threads} thread(s); {load()}"
            )
            timed = photos[: options.timed]
            print(f"\none photo, {len(timed)} photos after one to warm up:")
            print(breakdown(timed, gallery, network, options.threads).table())

            analyzer = FaceAnalyzer(network, load_detector(threads=options.threads))
            solver = Sinkhorn(threads=options.threads)
            wall, cpu, answered = time.perf_counter(), time.process_time(), 0
            for _, found in analyzer.analyze_many(photos, select="largest"):
                if isinstance(found, list):
                    identify(found[0].features, gallery, gallery.options(solver=solver))
                    answered += 1
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(
                f"\nbatch of {len(photos)} photos ({answered} with a face), photo to names: "
                f"{wall:.1f} s wall, {cpu:.1f} s CPU: {len(photos) / wall:.1f} photos/s of wall "
                f"time, {cpu / len(photos) * 1e3:.1f} CPU ms a photo; {load()}"
            )
        image = load_image(photos[0])
        found = load_detector().detect(image)[0]
        embedding(align(image, found.landmarks, template(network.spec.template)), options.rounds)
    print(load())


if __name__ == "__main__":
    main()
