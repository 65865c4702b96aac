"""From which cosine on two photos are one picture: what `not this person` marks go by.

    python benchmarks/service/same_picture.py LFW/ --people 40

LFW/ holds a folder of photos for each person. A photo of each is saved anew in several ways and
compared with itself; against that stand all pairs of up to four photos of the same person. Faces
are found in each anew, as a service does. Needs `faceflow models pull`.
"""

from __future__ import annotations

import argparse
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import Float32
from faceflow.errors import NoFaceError
from faceflow.faces.detectors import load_detector
from faceflow.networks import load_network
from faceflow.server.marks import SAME_PICTURE


def saved_anew(path: Path) -> dict[str, bytes]:
    """The photo in other files."""
    found = {}
    with Image.open(path) as photo:
        image = photo.convert("RGB")
    for quality in (60, 75, 85, 95):
        found[f"JPEG {quality}"] = _jpeg(image, quality)
    for part in (0.5, 0.75, 1.5):
        size = (round(image.width * part), round(image.height * part))
        found[f"{part} times the size, JPEG 85"] = _jpeg(
            image.resize(size, Image.Resampling.LANCZOS), 85
        )
    found["cut by a tenth, JPEG 85"] = _jpeg(
        image.crop((image.width // 20, image.height // 20, image.width, image.height)), 85
    )
    return found


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--people", type=int, default=40)
    given = parser.parse_args()
    analyzer = FaceAnalyzer(load_network(), load_detector())

    def embedding(source: Path | bytes) -> Float32 | None:
        try:
            (face,) = analyzer.analyze(source, select="largest")
        except NoFaceError:
            return None
        return face.features.embedding[0]

    folders = [one for one in sorted(given.photos.iterdir()) if len(list(one.glob("*.jpg"))) > 1]
    step = max(1, len(folders) // given.people)
    cosines: dict[str, list[float]] = defaultdict(list)
    others: list[tuple[float, str]] = []
    for folder in folders[::step][: given.people]:
        first, *more = sorted(folder.glob("*.jpg"))[:4]
        whole = embedding(first)
        if whole is None:
            continue
        for name, data in saved_anew(first).items():
            anew = embedding(data)
            cosines[name].append(-1.0 if anew is None else float(whole @ anew))
        known = [(first.name, whole)]
        for photo in more:
            other = embedding(photo)
            if other is None:
                continue
            others += [(float(one @ other), f"{name} {photo.name}") for name, one in known]
            known.append((photo.name, other))
    every = np.array([value for values in cosines.values() for value in values])
    apart = np.array([value for value, _ in others])
    for name, values in cosines.items():
        low = np.array(values)
        missed = (low < SAME_PICTURE).sum()
        print(
            f"{name:32} least {low.min():.4f}, 5% {np.percentile(low, 5):.4f}, median "
            f"{np.median(low):.4f}; below {SAME_PICTURE}: {missed} of {len(low)}"
        )
    print(
        f"{'other photos of the person':32} most {apart.max():.4f}, 95% "
        f"{np.percentile(apart, 95):.4f}, median {np.median(apart):.4f}; from {SAME_PICTURE} on: "
        f"{(apart >= SAME_PICTURE).sum()} of {len(apart)}"
    )
    for value, names in sorted(others)[:-6:-1]:
        print(f"  {value:.4f} {names}")
    for bound in (0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98):
        print(
            f"  at {bound}: {(every < bound).mean():.4f} of pictures saved anew are missed, "
            f"{(apart >= bound).mean():.4f} of other photos are taken for the same"
        )


if __name__ == "__main__":
    main()
