#!/usr/bin/env python3
"""Draw the pictures that the demo ships: people to enroll, and covered photos to ask about.

    python tools/draw_demo_photos.py                   # into src/faceflow/demo/photos
    python tools/draw_demo_photos.py --output FOLDER

The same pictures come out every time, up to the rounding of the JPEG library at hand. A test
draws some of them again and compares.

``people/NAME/NAME_0001.jpg``   the photos to enroll, two each
``queries/NAME-COVER.jpg``      another photo, covered; names without a folder in ``people`` are
                                strangers, for whom "unknown" is the right answer
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from drawn_people import NOTICE, Portrait, identity, person_name, portrait
from faceflow.arrays import UInt8
from faceflow.occlusion import occlude, random_crop

PEOPLE, STRANGERS = 12, 4
ENROLLED = (0, 1)
QUERY = 2
COVERS = ("mask", "sunglasses", "crop")
SIZE = 256  # pixels, the side of a photo
FOLDER = Path(__file__).resolve().parents[1] / "src" / "faceflow" / "demo" / "photos"
_QUALITY = 90
_COVER_SEED = 1
_AROUND = 2.6  # half a side of what a crop is cut from, in distances between the eyes


def pictures() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(path inside the folder, what draws its JPEG bytes) of every picture, in order."""
    for seed in range(PEOPLE):
        name = person_name(seed)
        for photo in ENROLLED:
            yield f"people/{name}/{name}_{photo + 1:04d}.jpg", _plain(seed, photo)
    for seed in range(PEOPLE + STRANGERS):
        cover = COVERS[seed % len(COVERS)]
        yield f"queries/{person_name(seed)}-{cover}.jpg", _covered(seed, cover)


def _plain(seed: int, photo: int) -> Callable[[], bytes]:
    return lambda: _jpeg(portrait(identity(seed), photo, size=SIZE).image)


def _covered(seed: int, cover: str) -> Callable[[], bytes]:
    def draw() -> bytes:
        shot = portrait(identity(seed), QUERY, size=SIZE)
        if cover == "crop":
            return _jpeg(random_crop(_face(shot), seed=_COVER_SEED).image)
        return _jpeg(occlude(cover, shot.image, shot.landmarks, _COVER_SEED).image)

    return draw


def _face(shot: Portrait) -> UInt8:
    """The face with a little around it: a crop of the whole photo would mostly cut background."""
    half = _AROUND * float(np.hypot(*(shot.landmarks[1] - shot.landmarks[0])))
    x, y = shot.landmarks.mean(axis=0)
    rows = slice(max(0, round(y - half)), round(y + half))
    columns = slice(max(0, round(x - half)), round(x + half))
    return np.ascontiguousarray(shot.image[rows, columns])


def _jpeg(image: UInt8) -> bytes:
    """JPEG bytes whose metadata say that the face is drawn."""
    exif = Image.Exif()
    exif[0x010E] = NOTICE  # ImageDescription
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY, optimize=True, exif=exif)
    return buffer.getvalue()


def main() -> None:
    """Draw all of them; files of the same names are replaced."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="FOLDER")
    folder: Path = parser.parse_args().output
    count = size = 0
    for name, draw in pictures():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size += path.write_bytes(draw())
        count += 1
    print(f"{count} pictures, {size / 1000:.0f} kB, in {folder}")


if __name__ == "__main__":
    main()
