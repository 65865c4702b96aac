"""Enrolling many photos, against what detector and network alone would allow on the same cores.

    python benchmarks/speed/bulk.py                                # the demo's drawn people, 256 px
    python benchmarks/speed/bulk.py --photos FOLDER --count 200    # a folder with one a person

Three things are timed in turns, on the same photos, several rounds: the detector alone and the
network alone, each as fast as these cores run it (one photo or crop a thread, nothing decoded,
aligned or written), and `enroll` as users run it, into a new gallery. The bound is harmonic: a
photo needs the detector and the network, so 1 / (1 / detector + 1 / network) photos a second. What
`enroll` reaches of it is the ratio. By wall time, which other programs disturb, and by CPU time.

Then the CPU time of one photo's enrolment by part, on one thread, and one photo against a gallery:
`identify` without ranking, over detector and network.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measuring import Clock, load, machine

from faceflow import FaceAnalyzer, Gallery
from faceflow.arrays import UInt8
from faceflow.demo import PEOPLE
from faceflow.faces.alignment import align, template
from faceflow.faces.detectors import DEFAULT, Detection, load_detector
from faceflow.faces.images import content_hash, iter_images, load_image, read_photo
from faceflow.gallery import Enrolment
from faceflow.gallery.enrolment import Listing, Photo, enroll_photos
from faceflow.gallery.preparing import prepare
from faceflow.networks import load_network
from faceflow.weights import calling_thread_alone
from faceflow.weights.session import physical_cores


def alone(work: Callable[[UInt8], object], pictures: list[UInt8], pool: ThreadPoolExecutor) -> None:
    """All pictures through one model, a thread a picture."""

    def one(picture: UInt8) -> None:
        with calling_thread_alone():
            work(picture)

    for _ in pool.map(one, pictures):
        pass


def distinct(paths: list[Path], count: int, folder: Path) -> Listing:
    """``count`` photos; where there are fewer, the same again, told apart by a byte at the end."""
    photos = []
    for number, path in enumerate(itertools.islice(itertools.cycle(paths), count)):
        if number >= len(paths):
            copy = folder / f"{number}{path.suffix}"
            copy.write_bytes(path.read_bytes() + number.to_bytes(4))
            path = copy
        photos.append(Photo(path, f"Person {number}"))
    return Listing(tuple(photos))


def largest(found: list[Detection]) -> Detection:
    return max(found, key=lambda one: one.size)


def by_part(listing: Listing, analyzer: FaceAnalyzer, folder: Path) -> Clock:
    """One photo after the other, on one thread, each step by itself."""
    clock, network = Clock(), analyzer.network
    wanted = template(network.spec.template)
    with Gallery.open_or_create(folder / "parts.faceflow", network) as gallery:
        header, codec = gallery._header, gallery._codec
        items: list[Enrolment] = []
        for photo in listing.photos:
            with clock.measure("read, hash"):
                content = read_photo(photo.path)
                digest = content_hash(content)
            with clock.measure("decode"):
                image = load_image(content)
            with clock.measure("detector"):
                found = analyzer.detector.detect(image)
            if not found:
                continue
            with clock.measure("align"):
                crop = align(image, largest(found).landmarks, wanted)
            with clock.measure("network"):
                network.run(network.scale(crop[None]))
            with clock.measure("network, features"):
                analyzer.embed(crop[None])
            with clock.measure("decode to features"):
                (face,) = analyzer.analyze(photo.path, select="largest")
            items.append(
                Enrolment(
                    photo.person, str(photo.path), digest, face.features, face.box, face.score, crop
                )
            )
            with clock.measure("codec, thumbnail"):
                prepare(items[-1:], "parts", header, codec)
        for start in range(0, len(items), 64):
            some = items[start : start + 64]
            before = time.process_time()
            gallery.enroll(some)
            clock.cpu["prepare and write"].append((time.process_time() - before) / len(some))
    return clock


def show_parts(clock: Clock) -> None:
    cpu = {name: float(np.median(values)) * 1e3 for name, values in clock.cpu.items()}
    print("\nCPU ms a photo by part, one thread, medians:")
    for name, value in cpu.items():
        print(f"  {name:22}{value:8.2f}")
    models = cpu["detector"] + cpu["network"]
    everything = cpu["read, hash"] + cpu["decode to features"] + cpu["prepare and write"]
    print(f"  detector and network   {models:8.2f}")
    print(f"  all that enroll does   {everything:8.2f}: models / all = {models / everything:.3f}")
    print(
        f"  a photo to features    {cpu['decode to features']:8.2f}: "
        f"{cpu['decode to features'] / models:.3f} times the models"
    )


def rounds(
    listing: Listing, analyzer: FaceAnalyzer, threads: int, count: int, folder: Path
) -> Iterator[dict[str, tuple[float, float]]]:
    """Seconds of wall and CPU time by what was run, a round at a time."""
    pictures = [load_image(photo.path) for photo in listing.photos]
    wanted = template(analyzer.network.spec.template)
    crops = []
    for picture in pictures:
        found = analyzer.detector.detect(picture)
        points = largest(found).landmarks if found else wanted.points
        crops.append(align(picture, points, wanted)[None])

    def embed(crop: UInt8) -> None:
        analyzer.network.run(analyzer.network.scale(crop))

    def enroll(number: int) -> None:
        place = folder / f"round-{number}.faceflow"
        with Gallery.open_or_create(place, analyzer.network) as gallery:
            enroll_photos(listing, gallery, analyzer, whole_image="fallback")

    with ThreadPoolExecutor(threads) as pool:
        runs: dict[str, Callable[[int], None]] = {
            "detector": lambda _: alone(analyzer.detector.detect, pictures, pool),
            "network": lambda _: alone(embed, crops, pool),
            "enroll": enroll,
        }
        for number in range(count + 1):
            taken = {}
            for name in np.random.default_rng(number).permutation(list(runs)):
                wall, cpu = time.perf_counter(), time.process_time()
                runs[str(name)](number)
                taken[str(name)] = time.perf_counter() - wall, time.process_time() - cpu
            if number:  # the first one only warmed everything up
                yield taken


def main() -> None:
    parser = argparse.ArgumentParser(description="Time enrolling many photos.")
    parser.add_argument("--photos", type=Path, default=PEOPLE)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--detector", default=DEFAULT)
    options = parser.parse_args()
    print(machine())
    network = load_network(threads=options.threads)
    detector = load_detector(options.detector, threads=options.threads)
    analyzer = FaceAnalyzer(network, detector)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = iter_images(options.photos)
        step = max(1, len(paths) // options.count)
        listing = distinct(paths[::step], options.count, folder)
        print(
            f"{options.count} photos of {options.photos}, {network.spec.name}, {detector.name}, "
            f"{options.threads} threads; {load()}"
        )
        print("\nphotos/s of wall time, and CPU ms a photo:")
        ratios: list[tuple[float, float]] = []
        for taken in rounds(listing, analyzer, options.threads, options.rounds, folder):
            ratios.append(
                tuple(
                    (taken["detector"][i] + taken["network"][i]) / taken["enroll"][i]
                    for i in (0, 1)
                )  # type: ignore[arg-type]
            )
            figures = "  ".join(
                f"{name} {options.count / wall:6.1f}/s {cpu / options.count * 1e3:6.1f} ms"
                for name, (wall, cpu) in sorted(taken.items())
            )
            print(f"  {figures}  ratio {ratios[-1][0]:.3f}, by CPU {ratios[-1][1]:.3f}")
        wall, cpu = np.median(np.array(ratios), axis=0)
        print(
            f"enroll reaches {wall:.1%} of the bound by wall time, {cpu:.1%} by CPU time (medians)"
        )
        with calling_thread_alone():
            show_parts(by_part(listing, analyzer, folder))
    print(load())


if __name__ == "__main__":
    main()
