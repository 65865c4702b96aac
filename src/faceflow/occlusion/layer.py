"""A see-through layer over part of a photo: occluders are drawn on it, then laid over the photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from faceflow.arrays import Bools, Float32, Float64, Floats, UInt8
from faceflow.errors import InputError
from faceflow.occlusion.pose import FacePose

_FINEST = 200.0  # layer pixels per eye distance at most; larger faces are drawn and enlarged
_COARSEST = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class Occluded:
    """A photo with part of it hidden.

    Attributes:
        image: (H, W, 3) uint8 RGB, the size of the photo given.
        covered: (H, W) bool, True where a pixel no longer shows the photo. Outside of it the
            image equals the photo exactly (moved by ``transform`` for crops).
        transform: (2, 3) float64, takes x, y in the photo given to x, y in ``image``: the
            identity but for crops. Landmarks move with it.
    """

    image: UInt8
    covered: Bools
    transform: Float64

    @classmethod
    def over(cls, image: UInt8, covered: Bools) -> Occluded:
        """A photo painted over where ``covered`` says."""
        return cls(image, covered, np.eye(2, 3))


def check_image(image: UInt8) -> UInt8:
    """Raise :class:`InputError` unless ``image`` is (H, W, 3) uint8 with at least one pixel."""
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise InputError(
            f"image has shape {array.shape} and type {array.dtype}",
            why="(H, W, 3) uint8 RGB is needed",
        )
    return array


class Layer:
    """A window around a face, drawn at its own resolution.

    Attributes:
        colour: (h, w, 3) float32 sRGB 0..1, only meaningful where ``alpha`` > 0.
        alpha: (h, w) float32.
        shadow: (h, w) float32, how much the photo beneath is darkened, 0..1.
        unit: layer pixels per eye distance.
    """

    def __init__(
        self, photo: UInt8, pose: FacePose, extent: tuple[float, float, float, float]
    ) -> None:
        """Span a box of upright face coordinates ``extent`` = x0, y0, x1, y1 (eye distances).

        Only the part on the photo, and a margin for shadows from beyond it, is drawn.
        """
        x0, y0, x1, y1 = extent
        corners = pose.to_pixels(np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]))
        self.pose = pose
        zoom = float(np.clip(2.0 * pose.scale, _COARSEST, _FINEST)) / pose.scale
        # Layer pixels per photo pixel; whole, so that shrinking by area is exact.
        self.zoom = float(np.ceil(zoom)) if zoom > 1 else zoom
        self.unit = self.zoom * pose.scale
        margin = np.ceil(0.3 * pose.scale)
        edge = np.array([photo.shape[1], photo.shape[0]]) + margin
        low = np.clip(np.floor(corners.min(axis=0)), -margin, edge)
        high = np.clip(np.ceil(corners.max(axis=0)) + 1, low + 1, np.maximum(edge, low + 1))
        self.left_top = low
        width, height = (int(v) for v in np.ceil((high - low) * self.zoom))
        self.colour = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.shadow = np.zeros((height, width), np.float32)

    def place(self, turned: Floats) -> Float64:
        """(..., 2 or 3) upright face coordinates to (..., 2) layer pixels x, y."""
        there = (self.pose.to_pixels(turned) - self.left_top + 0.5) * self.zoom - 0.5
        return np.asarray(there, dtype=np.float64)

    def upright(self) -> tuple[Float32, Float32]:
        """x and y in upright face coordinates of every layer pixel, each (h, w)."""
        height, width = self.alpha.shape
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        pixels = (np.stack([columns, rows], axis=-1) + 0.5) / self.zoom - 0.5 + self.left_top
        there = self.pose.from_pixels(pixels).astype(np.float32)
        return there[..., 0], there[..., 1]

    def polygon(self, turned: Floats) -> Float32:
        """(h, w) coverage 0..1 of the polygon through (N, 2 or 3) upright points."""
        field = np.zeros(self.alpha.shape, np.uint8)
        points = np.clip(self.place(turned), -30000, 30000)
        cv2.fillPoly(
            field, [np.rint(points * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4
        )
        return (field / np.float32(255)).astype(np.float32)

    def stroke(self, turned: Floats, width: float, *, closed: bool = False) -> Float32:
        """(h, w) coverage of a line through upright points, ``width`` in eye distances."""
        field = np.zeros(self.alpha.shape, np.uint8)
        points = np.clip(self.place(turned), -30000, 30000)
        cv2.polylines(
            field,
            [np.rint(points * 16).astype(np.int32)],
            closed,
            255,
            thickness=max(1, round(width * self.unit)),
            lineType=cv2.LINE_AA,
            shift=4,
        )
        return (field / np.float32(255)).astype(np.float32)

    def paint(self, colour: Floats, cover: Floats) -> None:
        """Lay ``colour`` (3,) or (h, w, 3) over what is drawn, with coverage (h, w)."""
        full = np.clip(cover, 0, 1).astype(np.float32)
        x, y, width, height = cv2.boundingRect((full > 0).astype(np.uint8))
        box = (slice(y, y + height), slice(x, x + width))
        part, alpha, under = full[box], self.alpha[box], self.colour[box]
        total = part + alpha * (1 - part)
        share = np.divide(part, total, out=np.zeros_like(part), where=total > 0)[..., None]
        over = np.asarray(colour, np.float32)
        under += ((over if over.ndim == 1 else over[box]) - under) * share
        alpha[:] = total

    def cast_shadow(self, *, amount: float, reach: float, drop: tuple[float, float]) -> None:
        """Darken the photo around what is drawn: soft, ``reach`` and ``drop`` in eye distances."""
        blurred = cv2.GaussianBlur(self.alpha, (0, 0), max(reach * self.unit * 0.5, 0.3))
        dx, dy = self.pose.to_pixels(np.array(drop)) - self.pose.to_pixels(np.zeros(2))
        move = np.array([[1, 0, dx * self.zoom], [0, 1, dy * self.zoom]])
        height, width = self.alpha.shape
        moved = cv2.warpAffine(blurred, move, (width, height))
        self.shadow = np.maximum(self.shadow, amount * np.where(moved > 0.04, moved, 0))

    def lay_over(self, photo: UInt8, rng: np.random.Generator | None = None) -> Occluded:
        """Put the layer on a photo; with ``rng``, give it the photo's grain."""
        height, width = photo.shape[:2]
        x0, y0 = (int(v) for v in np.clip(self.left_top, -(2**30), 2**30))
        layer_height, layer_width = self.alpha.shape
        x1 = min(width, x0 + int(np.ceil(layer_width / self.zoom)))
        y1 = min(height, y0 + int(np.ceil(layer_height / self.zoom)))
        left, top = max(x0, 0), max(y0, 0)
        image, covered = photo.copy(), np.zeros((height, width), bool)
        if left >= x1 or top >= y1:
            return Occluded.over(image, covered)
        window = (slice(top, y1), slice(left, x1))
        offset, size = (left - x0, top - y0), (x1 - left, y1 - top)
        stack = np.dstack([self.colour * self.alpha[..., None], self.alpha])
        small = self._resample(stack, offset, size)
        alpha = small[..., 3:4]
        shadow = self._resample(self.shadow, offset, size)[..., None] * (1 - alpha)
        under = photo[window].astype(np.float32)
        drawn = small[..., :3] * 255
        if rng is not None:
            grain = rng.standard_normal((*alpha.shape[:2], 1), dtype=np.float32)
            drawn = drawn + grain * alpha * grain_of(photo)
        mixed = under * (1 - shadow) * (1 - alpha) + drawn
        touched = (alpha[..., 0] > 1 / 255) | (shadow[..., 0] > 1 / 255)
        result = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        image[window] = np.where(touched[..., None], result, photo[window])
        covered[window] = touched
        return Occluded.over(image, covered)

    def _resample(self, stack: Float32, offset: tuple[int, int], size: tuple[int, int]) -> Float32:
        """The part of the layer over ``size`` photo pixels from ``offset``."""
        if self.zoom > 1:
            # Shrink by area so that edges are smooth.
            full = round(stack.shape[1] / self.zoom), round(stack.shape[0] / self.zoom)
            small = cv2.resize(stack, full, interpolation=cv2.INTER_AREA)
            x, y = offset
            return np.asarray(small[y : y + size[1], x : x + size[0]], dtype=np.float32)
        shift = (np.array(offset) + 0.5) * self.zoom - 0.5
        back = np.array([[self.zoom, 0, shift[0]], [0, self.zoom, shift[1]]])
        large = cv2.warpAffine(stack, back, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return np.asarray(large, dtype=np.float32)


def grain_of(photo: UInt8) -> float:
    """Rough sigma of the noise in a photo, 0 to 5 grey levels."""
    grey = photo[:, :, 1].astype(np.float32)
    if min(grey.shape) < 3:
        return 0.0
    second = grey[1:-1, :-2] - 2 * grey[1:-1, 1:-1] + grey[1:-1, 2:]
    return float(np.clip(np.median(np.abs(second)) / 0.6745 / 6**0.5, 0, 5))
