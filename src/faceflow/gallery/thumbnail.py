"""The small picture of a face that a gallery can keep for people to look at."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from faceflow.arrays import UInt8
from faceflow.errors import InputError

SIDE = 96
"""Longest side in pixels: enough to recognise a face in a report, 2-3 KB."""


def thumbnail(crop: UInt8) -> bytes:
    """A JPEG of at most 96x96 pixels, without metadata.

    The same crop gives the same bytes with the same Pillow.

    Args:
        crop: (H, W, 3) uint8 RGB.

    Raises:
        InputError: another shape or type, or no pixels.
    """
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or crop.size == 0:
        raise InputError(
            f"a face crop has shape {crop.shape} and type {crop.dtype}",
            why="(H, W, 3) uint8 RGB is needed",
        )
    picture = Image.fromarray(np.ascontiguousarray(crop))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80, optimize=True)
    return out.getvalue()
