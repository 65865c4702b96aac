"""A photo, or a window of one, at the size a detection network looks at it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from faceflow.arrays import Float32, Float64, Floats, UInt8
from faceflow.errors import InputError

_MULTIPLE = 32


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """What a network sees, and how its coordinates lead back to the photo.

    Attributes:
        pixels: (H, W, 3) uint8 RGB; the part that shows the photo is at the top left, and what
            is right of it and below is black.
        shown: (w, h) columns and rows of ``pixels`` that show the photo or its window.
        origin: (2,) x, y of the window's corner in the photo; may be negative.
        scale: (2,) photo pixels per canvas pixel, in x and in y.
    """

    pixels: UInt8
    shown: tuple[int, int]
    origin: Float64
    scale: Float64

    def to_photo(self, points: Floats) -> Float64:
        """(..., 2) x, y of the canvas as x, y of the photo."""
        return np.asarray(points * self.scale + self.origin, dtype=np.float64)

    def to_canvas(self, points: Floats) -> Float64:
        """(..., 2) x, y of the photo as x, y of the canvas."""
        return np.asarray((points - self.origin) / self.scale, dtype=np.float64)

    def tensor(self, mean: float = 0.0, std: float = 1.0) -> Float32:
        """(1, 3, H, W) float32 of (pixels - mean) / std."""
        planes = self.pixels.transpose(2, 0, 1)[None].astype(np.float32)
        return np.ascontiguousarray((planes - np.float32(mean)) / np.float32(std))


def fit(
    image: UInt8,
    longest: int = 0,
    *,
    size: tuple[int, int] | None = None,
    margin: float = 0.0,
) -> Canvas:
    """A whole photo, scaled without distortion.

    Args:
        image: (H, W, 3) uint8 RGB.
        longest: pixels its longer side becomes; black is then added on the right and below
            until both sides are multiples of 32, as networks with five halvings need them.
        size: (H, W) of the canvas instead: the photo is scaled to fit into it.
        margin: black around the photo, as a share of its longer side. The longer side with
            both margins then becomes ``longest``.
    """
    height, width = image.shape[:2]
    edge = round(margin * max(height, width))
    box = np.array([-edge, -edge, width + edge, height + edge])
    return window(image, box, longest, size=size)


def window(
    image: UInt8,
    box: Floats,
    longest: int = 0,
    *,
    size: tuple[int, int] | None = None,
) -> Canvas:
    """A rectangle of a photo, scaled without distortion; black where it reaches beyond.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) x0, y0, x1, y1, rounded to whole pixels; at least one pixel is taken.
        longest, size: as for :func:`fit`.
    """
    low = np.round(box[:2]).astype(np.int64)
    high = np.maximum(np.round(box[2:]).astype(np.int64), low + 1)
    limit = np.array(image.shape[1::-1])
    inner_low, inner_high = np.clip(low, 0, limit), np.clip(high, 0, limit)
    part = image[inner_low[1] : inner_high[1], inner_low[0] : inner_high[0]]
    wide, tall = (int(side) for side in high - low)
    ratio = longest / max(wide, tall) if size is None else min(size[1] / wide, size[0] / tall)
    shown = max(1, round(wide * ratio)), max(1, round(tall * ratio))
    scale = np.array([wide / shown[0], tall / shown[1]])
    rows, columns = size or (_up(shown[1]), _up(shown[0]))
    pixels = np.zeros((rows, columns, 3), np.uint8)
    # Black is added after scaling: a small face in a large black margin costs nothing.
    if part.size:
        first = np.round((inner_low - low) / scale).astype(np.int64)
        last = np.maximum(np.round((inner_high - low) / scale).astype(np.int64), first + 1)
        last = np.minimum(last, shown)
        first = np.minimum(first, last - 1)
        across, down = (int(side) for side in last - first)
        method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
        pixels[first[1] : last[1], first[0] : last[0]] = cv2.resize(
            part, (across, down), interpolation=method
        )
    return Canvas(pixels, shown, low.astype(np.float64), scale)


def _up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE


def check_options(threshold: float, overlap: float, longest: int) -> None:
    """Raise :class:`InputError` unless a detector can work with these.

    Args:
        threshold: the least score of a face.
        overlap: of two boxes with a larger intersection over union only the better is kept.
        longest: longest side in pixels at which a photo is looked at.
    """
    if not (0 < threshold < 1 and 0 <= overlap <= 1 and 32 <= longest <= 4096):
        raise InputError(
            f"threshold is {threshold}, overlap {overlap}, longest {longest}",
            todo="give shares between 0 and 1, and 32 to 4096 pixels",
        )
