"""Every occlusion by name."""

from __future__ import annotations

from collections.abc import Callable

from faceflow.arrays import Floats, UInt8
from faceflow.errors import InputError
from faceflow.occlusion import crops
from faceflow.occlusion.blobs import blob
from faceflow.occlusion.garments import hat, scarf
from faceflow.occlusion.hands import hand
from faceflow.occlusion.layer import Occluded
from faceflow.occlusion.masks import MASK_STYLES, mask
from faceflow.occlusion.sunglasses import SUNGLASSES_STYLES, sunglasses

Occlude = Callable[[UInt8, Floats, int], Occluded]


def _random_crop(image: UInt8, landmarks: Floats, seed: int) -> Occluded:
    return crops.random_crop(image, seed=seed)


def _painted(draw: Callable[..., Occluded], **options: str) -> Occlude:
    return lambda image, landmarks, seed: draw(image, landmarks, seed=seed, **options)


_OCCLUSIONS: dict[str, Occlude] = {
    "mask": _painted(mask),
    **{f"mask-{style}": _painted(mask, style=style) for style in MASK_STYLES},
    "sunglasses": _painted(sunglasses),
    **{f"sunglasses-{s}": _painted(sunglasses, style=s) for s in SUNGLASSES_STYLES},
    "crop": _random_crop,
    "lower-crop": crops.lower_crop,
    "upper-crop": crops.upper_crop,
    "hat": _painted(hat),
    "scarf": _painted(scarf),
    "hand": _painted(hand),
    "blob": _painted(blob),
}


def occlusions() -> tuple[str, ...]:
    """Names that :func:`occlude` knows."""
    return tuple(_OCCLUSIONS)


def occlude(name: str, image: UInt8, landmarks: Floats, seed: int = 0) -> Occluded:
    """Hide part of a face.

    Args:
        name: one of :func:`occlusions`. ``mask`` and ``sunglasses`` choose a style.
        image: (H, W, 3) uint8 RGB photo of any size; it is not changed.
        landmarks: (5, 2) x, y in pixels: left eye, right eye, nose, left and right mouth
            corner, left and right as seen in the image. They may lie off the image.
        seed: with the same image and seed the result is the same on every run; images differ
            from each other under one seed.

    Raises:
        InputError: unknown name (the known are listed), image or landmarks that cannot be used.
    """
    if name not in _OCCLUSIONS:
        raise InputError(
            f"no occlusion is called {name!r}", todo=f"use one of {', '.join(_OCCLUSIONS)}"
        )
    return _OCCLUSIONS[name](image, landmarks, seed)
