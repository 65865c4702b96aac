"""What detectors find: covered faces, the right face, small faces in large photos, and the cost.

    python benchmarks/accuracy/detectors.py photos ROF/masked ROF/sunglasses LFW/ --every 10
    python benchmarks/accuracy/detectors.py small LFW/
    python benchmarks/accuracy/detectors.py compare MTCNN.json CENTERFACE.json

photos: every so-maniest photo of each folder; how many show no face, how many show their
     face (the one nearest to the middle) well off the middle, where LFW and ROF have it, how many
     show several faces, in how many of these another one is the largest, and the CPU time of
     one photo on one thread. --cache FOLDER keeps what was found (and then it costs nothing).
small: second photos of people of LFW's tuning half, shrunk until the face is so many pixels wide
     and pasted on 1600 x 1200 photos of coloured clouds, twelve on each. How many are found,
     by size; how many detections are no pasted face; and of those found how many are nearest,
     by cosine, to the first photo of the same person, found by the same detector.

compare: two answers of covered.py --detector NAME --keep FILE.json to the same queries: how many
     the second has right and the first wrong, and the other way round, a photo without a face being
     wrong, with the two-sided sign test.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from covered import _by_person as by_person
from covered import half_of, sign_test

from faceflow import FaceAnalyzer, FaceflowError
from faceflow.evaluation.kept_detector import KeptDetector
from faceflow.faces.detectors import Detection, Detector, load_detector
from faceflow.faces.images import iter_images, load_image
from faceflow.networks import load_network

SIDES = (16, 20, 24, 32, 48, 64)
_FACE = 85  # pixels between the cheeks of LFW's faces
_GRID = (3, 4)  # places on a large photo
_LARGE = (1200, 1600)


def photos(detectors: list[Detector], folders: list[Path], every: int) -> None:
    head = f"{'photos':<14}{'detector':<12}{'photos':>8}{'none':>6}{'off':>6}{'several':>9}"
    print(f"{head}{'larger':>8}{'ms':>7}")
    for folder in folders:
        paths = sorted(iter_images(folder))[::every]
        for detector in detectors:
            none = off = several = larger = 0
            seconds = 0.0
            for path in paths:
                image = load_image(path)
                started = time.process_time()
                found = detector.detect(image)
                seconds += time.process_time() - started
                none += not found
                several += len(found) > 1
                if found:
                    chosen = min(found, key=lambda d: _distance(d, image))
                    off += _off(chosen, image)
                    larger += max(found, key=lambda d: d.size) is not chosen
            print(
                f"{folder.name:<14}{detector.name:<12}{len(paths):>8}{none:>6}{off:>6}"
                f"{several:>9}{larger:>8}{1000 * seconds / len(paths):>7.1f}",
                flush=True,
            )


def _distance(found: Detection, image: np.ndarray) -> float:
    middle = (found.box[:2] + found.box[2:]) / 2
    return float(np.linalg.norm(middle - np.array(image.shape[1::-1]) / 2)) / found.size


def _off(found: Detection, image: np.ndarray) -> bool:
    """Whether the middle of the photo lies outside the face's box."""
    middle = np.array(image.shape[1::-1]) / 2
    return bool((middle < found.box[:2]).any() or (middle > found.box[2:]).any())


def small(detectors: list[Detector], root: Path, people: int) -> None:
    names = [n for n, p in sorted(by_person(root).items()) if len(p) > 1 and half_of(n) == "tuning"]
    chosen = {name: by_person(root)[name][:2] for name in names[:people]}
    network = load_network(threads=1)
    for detector in detectors:
        analyzer = FaceAnalyzer(network, detector)
        gallery = {}
        for name, (first, _) in chosen.items():
            try:
                face = analyzer.analyze(first, select="centre")[0]
            except FaceflowError:
                continue
            gallery[name] = face.features.embedding[0]
        matrix, order = np.stack(list(gallery.values())), list(gallery)
        tally = {side: [0, 0, 0] for side in SIDES}  # pasted, found, recognised
        false, seconds, count = 0, 0.0, 0
        for image, pasted in _large([(n, second) for n, (_, second) in chosen.items()]):
            started = time.process_time()
            found = detector.detect(image)
            seconds, count = seconds + time.process_time() - started, count + 1
            matched = [_at(found, middle, side) for _, middle, side in pasted]
            false += len(found) - sum(one is not None for one in matched)
            for one, (name, _, side) in zip(matched, pasted, strict=True):
                tally[side][0] += 1
                if one is not None:
                    tally[side][1] += 1
                    crop = analyzer_crop(analyzer, image, one)
                    scores = matrix @ network.embed(crop[None]).embedding[0]
                    tally[side][2] += order[int(scores.argmax())] == name
        print(f"{detector.name}: {1000 * seconds / count:.0f} ms a photo, {false} false")
        for side, (total, seen, right) in tally.items():
            print(f"  face of {side:>3} pixels: {total} pasted, {seen} found, {right} recognised")


def analyzer_crop(analyzer: FaceAnalyzer, image: np.ndarray, found: Detection) -> np.ndarray:
    """The face as the analyzer would align it."""
    from faceflow.faces.alignment import align, template

    return align(image, found.landmarks, template(analyzer.network.spec.template))


def _at(found: list[Detection], middle: np.ndarray, side: int) -> Detection | None:
    near = [
        one
        for one in found
        if np.linalg.norm((one.box[:2] + one.box[2:]) / 2 - middle) < side / 2
        and side / 2 < one.size < 2.5 * side
    ]
    return max(near, key=lambda one: one.score) if near else None


def _large(
    photos: list[tuple[str, Path]],
) -> Iterator[tuple[np.ndarray, list[tuple[str, np.ndarray, int]]]]:
    """Large photos, with name, middle and width of each face pasted."""
    places = _GRID[0] * _GRID[1]
    for start in range(0, len(photos), places):
        rng = np.random.default_rng(start)
        image, pasted = _clouds(rng), []
        for place, (name, path) in enumerate(photos[start : start + places]):
            side = SIDES[(start + place + start // places) % len(SIDES)]
            picture = load_image(path)
            width = round(picture.shape[1] * side / _FACE)
            shrunk = cv2.resize(picture, (width, width), interpolation=cv2.INTER_AREA)
            cell = np.array(_LARGE) // _GRID
            corner = np.array(divmod(place, _GRID[1])) * cell + rng.integers(0, cell - width)
            y, x = (int(value) for value in corner)
            image[y : y + width, x : x + width] = shrunk
            pasted.append((name, np.array([x, y]) + width / 2, side))
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        yield np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8), pasted


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Coloured noise with as much in each octave, as photos have it."""
    total = np.zeros((*_LARGE, 3), np.float32)
    for step in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        shape = (-(-_LARGE[0] // step), -(-_LARGE[1] // step), 3)
        layer = rng.standard_normal(shape).astype(np.float32)
        total += cv2.resize(layer, _LARGE[::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(128 + 18 * total, 0, 255).astype(np.uint8)


def compare(first: Path, second: Path) -> None:
    one, two = (json.loads(path.read_text()) for path in (first, second))
    for row in one.keys() & two.keys():
        a, b = one[row], two[row]
        won = sum(b[path] and not a[path] for path in a)
        lost = sum(a[path] and not b[path] for path in a)
        print(
            f"{row}: {100 * sum(a.values()) / len(a):.1f} -> {100 * sum(b.values()) / len(b):.1f} "
            f"of {len(a)}, {won} won, {lost} lost, p = {sign_test(won, lost):.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("photos", "small", "compare"))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--detectors", nargs="+", default=["mtcnn", "centerface"])
    parser.add_argument("--every", type=int, default=1, help="photos: of each folder")
    parser.add_argument("--people", type=int, default=240, help="small")
    parser.add_argument("--cache", type=Path, help="keep what was found in this folder")
    arguments = parser.parse_args()
    if arguments.what == "compare":
        compare(*arguments.folders)
        return
    detectors: list[Detector] = [load_detector(n, threads=1) for n in arguments.detectors]
    if arguments.cache:
        detectors = [KeptDetector(detector, arguments.cache) for detector in detectors]
    if arguments.what == "photos":
        photos(detectors, arguments.folders, arguments.every)
    else:
        small(detectors, arguments.folders[0], arguments.people)


if __name__ == "__main__":
    main()
