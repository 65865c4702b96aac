#!/usr/bin/env python3
"""Draw the pictures of the first page and the README: who a masked drawn face is, and why.

    python tools/draw_docs_pictures.py

Needs the default network's weights. Writes ``docs/img/flow-ada.png``, the whole flow picture, and
``docs/img/flow-strip.webp``, its three faces alone on a transparent ground, which stay readable on
a phone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from faceflow import Identifier
from faceflow.demo import PEOPLE, QUERIES

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "img"
_WIDTH = 1000  # pixels of the whole picture
_SIDE, _GAP = 300, 20  # pixels of the strip's faces, and between them
# Where the faces lie in the flow picture, as shares of its width: left edges, top, side.
_LEFTS, _TOP, _FACE = (0.0423, 0.3592, 0.6761), 0.1725, 0.2817


def main() -> None:
    """Identify Ada under a mask and save the reasons."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Identifier(Path(folder) / "people.faceflow") as people,
    ):
        people.enroll(PEOPLE)
        (face,) = people.identify(QUERIES / "Ada-mask.jpg", threshold=0.55)
        picture = face.explain(top=1).picture()
    height = round(_WIDTH * picture.height / picture.width)
    small = picture.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(
        IMAGES / "flow-ada.png", optimize=True
    )
    strip(picture).save(IMAGES / "flow-strip.webp", quality=88, method=6)


def strip(picture: Image.Image) -> Image.Image:
    """The three faces of a flow picture side by side, with round corners."""
    shown = Image.new("RGBA", (3 * _SIDE + 2 * _GAP, _SIDE))
    corners = Image.new("L", (_SIDE, _SIDE))
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, _SIDE - 1, _SIDE - 1), radius=14, fill=255)
    for place, left in enumerate(_LEFTS):
        x, y, side = (round(share * picture.width) for share in (left, _TOP, _FACE))
        face = picture.crop((x, y, x + side, y + side)).resize((_SIDE, _SIDE))
        shown.paste(face, (place * (_SIDE + _GAP), 0), corners)
    return shown


if __name__ == "__main__":
    main()
