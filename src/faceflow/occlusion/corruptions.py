"""Spoil whole photos, five levels each: blur, noise, JPEG, low resolution, darkness, glare, shake.

A higher level of one kind is farther from the original (but for JPEG of flat colour, which rounds
as its tables fall, and where nothing is left to spoil). Lengths are shares of the photo's
shorter side, so that a level means the same at any resolution; the levels are meant for photos
that are mostly face, about as LFW's. No landmarks are needed.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.occlusion.layer import check_image
from faceflow.occlusion.light import to_linear, to_srgb
from faceflow.occlusion.seeds import generator

LEVELS = (1, 2, 3, 4, 5)

_BLUR = (0.006, 0.010, 0.016, 0.025, 0.040)  # sigma
_MOTION = (0.03, 0.05, 0.08, 0.12, 0.18)  # length of the streak
_NOISE = (8, 16, 28, 44, 64)  # standard deviation in grey levels
_QUALITY = (40, 25, 15, 8, 4)  # of JPEG
_SIDE = (128, 96, 64, 44, 30)  # pixels left on the shorter side
_DARKNESS = (3, 6, 12, 24, 48)  # times less light
_OVEREXPOSURE = (1.6, 2.4, 3.6, 5.5, 8.0)  # times more light


def _blur(photo: UInt8, level: int, rng: np.random.Generator) -> UInt8:
    sigma = _BLUR[level - 1] * min(photo.shape[:2])
    return _bytes(cv2.GaussianBlur(photo, (0, 0), max(sigma, 0.1)))


def _motion_blur(photo: UInt8, level: int, rng: np.random.Generator) -> UInt8:
    """A straight streak; its direction depends on image and seed, not on the level."""
    angle = rng.uniform(0, np.pi)
    length = _MOTION[level - 1] * min(photo.shape[:2])
    reach = int(np.ceil(length / 2)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    # One pixel wide, with soft ends, so that a fraction of a pixel counts.
    kernel = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return _bytes(cv2.filter2D(photo, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101))


def _noise(photo: UInt8, level: int, rng: np.random.Generator) -> UInt8:
    """The same grain at every level, only stronger."""
    grain = rng.standard_normal(photo.shape, dtype=np.float32)
    return _bytes(photo + _NOISE[level - 1] * grain)


def _jpeg(photo: UInt8, level: int, rng: np.random.Generator) -> UInt8:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=_QUALITY[level - 1])
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=np.uint8)


def _low_resolution(photo: UInt8, level: int, rng: np.random.Generator) -> UInt8:
    """Fewer pixels, enlarged to the old size; a photo that has no more of them stays as it is."""
    height, width = photo.shape[:2]
    scale = _SIDE[level - 1] / min(height, width)
    if scale >= 1:
        return photo.copy()
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return _bytes(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _darkness(photo: UInt8, level: int, rng: np.random.Generator) -> UInt8:
    """Less light, and so little that single photons and the sensor's own noise show."""
    grain = rng.standard_normal(photo.shape, dtype=np.float32)
    light = to_linear(photo.astype(np.float32) / 255) / _DARKNESS[level - 1]
    return _bytes(255 * to_srgb(light + np.sqrt(light * 1e-4 + 1e-6) * grain))


def _overexposure(photo: UInt8, level: int, rng: np.random.Generator) -> UInt8:
    """More light than fits: bright parts run into white."""
    light = to_linear(photo.astype(np.float32) / 255) * _OVEREXPOSURE[level - 1]
    return _bytes(255 * to_srgb(light))


_CORRUPTIONS: dict[str, Callable[[UInt8, int, np.random.Generator], UInt8]] = {
    "blur": _blur,
    "motion-blur": _motion_blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "low-resolution": _low_resolution,
    "darkness": _darkness,
    "overexposure": _overexposure,
}


def corruptions() -> tuple[str, ...]:
    """Names that :func:`corrupt` knows."""
    return tuple(_CORRUPTIONS)


def corrupt(name: str, image: UInt8, level: int = 3, seed: int = 0) -> UInt8:
    """Spoil a photo.

    Args:
        name: one of :func:`corruptions`.
        image: (H, W, 3) uint8 RGB photo of any size; it is not changed.
        level: 1 (slight) to 5 (severe).
        seed: of grain and direction; they are the same at every level of one image and seed,
            and differ between images.

    Returns:
        (H, W, 3) uint8 RGB of the same size.

    Raises:
        InputError: unknown name (the known are listed), level or image.

    Example:
        >>> import numpy as np
        >>> grey = np.full((8, 8, 3), 128, np.uint8)
        >>> int(corrupt("overexposure", grey, level=1)[0, 0, 0])
        158
    """
    if name not in _CORRUPTIONS:
        raise InputError(
            f"no corruption is called {name!r}", todo=f"use one of {', '.join(_CORRUPTIONS)}"
        )
    if level not in LEVELS:
        raise InputError(f"the level is {level}", todo="use 1 (slight) to 5 (severe)")
    photo = check_image(image)
    return _CORRUPTIONS[name](photo, int(level), generator(name, photo, seed))


def _bytes(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> UInt8:
    return np.clip(np.rint(np.asarray(values, dtype=np.float32)), 0, 255).astype(np.uint8)
