"""Fit the cover model that comes with faceflow; `faceflow covers learn` fits a user's own.

    python benchmarks/accuracy/fit_cover.py LFW/ -o lightcnn-v4.cover.npz

One logistic regression per patch place, from the raw patch to "more than half of this cell is
covered". The photos are the second of every person with two or more whose name falls into the
tuning half (see ``tuning``); nobody in the other half is looked at, so results reported on that
half, or on another set, stay clean. Covers are drawn by faceflow.occlusion before detection:
every photo clean, with a mask and with sunglasses, and one of hand, scarf, hat or blob. What the
detector finds is kept in --cache, as in covered.py.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from covered import kept_detector

from faceflow import FaceAnalyzer, FaceflowError
from faceflow.cover_learning.cover_fit import logistic
from faceflow.faces.alignment import template
from faceflow.faces.detectors import DEFAULT
from faceflow.faces.images import iter_images, load_image
from faceflow.occlusion import occlude

OTHERS = ("hand", "scarf", "hat", "blob")


def tuning(person: str) -> bool:
    """Whether a person belongs to the half that choices are made on."""
    return int(hashlib.sha256(person.encode()).hexdigest(), 16) % 2 == 1


def samples(analyzer: FaceAnalyzer, root: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Raw patches (R, C) and covered shares (R,) of every photo and cover."""
    people: dict[str, list[Path]] = {}
    for path in iter_images(root):
        people.setdefault(path.parent.name, []).append(path)
    layout = template(analyzer.network.spec.template)
    grid = analyzer.network.spec.grid
    chosen = [sorted(p)[1] for name, p in sorted(people.items()) if len(p) > 1 and tuning(name)]
    for number, path in enumerate(chosen):
        image = load_image(path)
        try:
            landmarks = analyzer.analyze(image, select="centre")[0].landmarks
            for cover in ("clean", "mask", "sunglasses", OTHERS[number % len(OTHERS)]):
                drawn, covered = image, np.zeros(image.shape[:2], bool)
                if cover != "clean":
                    result = occlude(cover, image, landmarks)
                    drawn, covered = result.image, result.covered
                face = analyzer.analyze(drawn, select="centre")[0]
                yield (
                    face.features.raw_patches[0],
                    shares(covered, layout.transform(face.landmarks), layout.size, grid),
                )
        except FaceflowError:
            continue  # no face under the cover: nothing to learn from


def shares(
    covered: np.ndarray, matrix: np.ndarray, size: tuple[int, int], grid: tuple[int, int]
) -> np.ndarray:
    """(R,) share of each patch's cell that is covered."""
    warped = cv2.warpAffine(covered.astype(np.float32), matrix, size[::-1])
    (height, width), (h, w) = size, grid
    return warped.reshape(h, height // h, w, width // w).mean(axis=(1, 3)).ravel()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="a folder per person, as LFW has it")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--ridge", type=float, default=3e-3)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "faceflow-bench"
    )
    parser.add_argument("--detector", default=DEFAULT, help="what finds and aligns the faces")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    analyzer = FaceAnalyzer(detector=kept_detector(arguments), threads=arguments.threads)
    pairs = list(samples(analyzer, arguments.root))
    x = np.stack([patches for patches, _ in pairs])
    y = np.stack([share for _, share in pairs]) > 0.5
    mean = np.einsum("nr,nrc->rc", ~y, x) / (~y).sum(axis=0)[:, None]
    held = np.arange(len(x)) % 5 == 0  # a fifth, to see how well it does
    for name, rows in (("fit on four fifths", ~held), ("fit on all", np.ones(len(x), bool))):
        found = [
            logistic(x[rows, r].astype(np.float64), y[rows, r], arguments.ridge)
            for r in range(x.shape[1])
        ]
        weight = np.stack([w for w, _ in found])
        bias = np.array([b for _, b in found])
        guess = np.einsum("nrc,rc->nr", x[held], weight) + bias > 0
        truth = y[held]
        print(
            f"{name}: {len(x)} faces, held fifth: patches right {(guess == truth).mean():.3f}, "
            f"covered found {guess[truth].mean():.3f}, false {guess[~truth].mean():.3f}"
        )
    with arguments.output.open("wb") as file:
        np.savez(
            file,
            weight=weight.astype(np.float32),
            bias=bias.astype(np.float32),
            mean=mean.astype(np.float32),
            digest=np.array(analyzer.network.digest),
        )


if __name__ == "__main__":
    main()
