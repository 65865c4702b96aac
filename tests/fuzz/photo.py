"""Fuzz target: a photo of any format into pixels."""

from __future__ import annotations

import warnings

from faceflow.errors import ImageError
from faceflow.faces.images import load_image
from faceflow.faces.photo_limits import MAX_PIXELS, MAX_SIDE


def one(data: bytes) -> None:
    """(H, W, 3) uint8 within the limits, or an ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about the damage
            pixels = load_image(data)
    except ImageError as error:
        assert len(str(error)) < 2000, "an error's text has no end"
        return
    height, width, channels = pixels.shape
    assert pixels.dtype == "uint8"
    assert channels == 3
    assert 0 < height <= MAX_SIDE
    assert 0 < width <= MAX_SIDE
    assert height * width <= MAX_PIXELS
    assert pixels.flags.c_contiguous
