"""What a detector says about a photo, and what anything must offer to be one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from faceflow.arrays import Float64, UInt8
from faceflow.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face found in a photo of W x H pixels.

    Coordinates are pixels of the photo as it was given, x to the right and y down; pixel (0, 0)
    covers the square from (0, 0) to (1, 1).

    Attributes:
        box: (4,) float64 x0, y0, x1, y1 with 0 <= x0 < x1 <= W and 0 <= y0 < y1 <= H: a box that
            reaches beyond the photo is clipped to it.
        landmarks: (5, 2) float64, (x, y) of left eye, right eye, nose, left and right mouth
            corner, left and right as seen in the image. They are not clipped: of a face cut by
            the border they may lie outside.
        score: the detector's confidence in (0, 1].
        points: (68, 2) float64 landmarks in the iBUG order (see :mod:`faceflow.faces.landmarks`) of
            a detector that finds so many, else None.
    """

    box: Float64
    landmarks: Float64
    score: float
    points: Float64 | None = None

    @property
    def size(self) -> float:
        """Square root of the box's area: the side, in pixels, of a square just as large."""
        x0, y0, x1, y1 = self.box
        return float(np.sqrt((x1 - x0) * (y1 - y0)))


class Detector(Protocol):
    """Finds faces and their five landmarks."""

    @property
    def name(self) -> str:
        """What :func:`faceflow.faces.detectors.load_detector` calls it."""
        ...

    def detect(self, image: UInt8) -> list[Detection]:
        """Faces of one photo, best score first; an empty list when there is none.

        Args:
            image: (H, W, 3) uint8 RGB of any size.

        Raises:
            InputError: the array has another shape or type.
        """
        ...


def require_image(image: UInt8) -> None:
    """Raise :class:`InputError` unless ``image`` is (H, W, 3) uint8 with at least one pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(
            f"the image has shape {image.shape} and type {image.dtype}",
            why="(H, W, 3) uint8 is needed",
            todo="load it with faceflow.faces.images.load_image",
        )
