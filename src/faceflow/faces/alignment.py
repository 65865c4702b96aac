"""From five landmarks to the crop a network was trained on: templates and similarity warps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np

from faceflow.arrays import Float64, Floats, UInt8
from faceflow.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Where a network wants the five landmarks in its input.

    Attributes:
        name: key in :data:`TEMPLATES`.
        size: (H, W) of the crop in pixels.
        points: (5, 2) float64, (x, y) pixels in the crop: left eye, right eye, nose, left mouth
            corner, right mouth corner; left and right as seen in the image.
        method: "five-point" fits the similarity to all five points in the least-squares sense;
            "eyes-mouth" makes the midpoint of the eyes and that of the mouth corners meet the
            template's exactly, which neither a turned head's nose nor a wide mouth disturbs.
    """

    name: str
    size: tuple[int, int]
    points: Float64
    method: Literal["five-point", "eyes-mouth"] = "five-point"

    def transform(self, landmarks: Floats) -> Float64:
        """(2, 3) float64 similarity taking image pixels to crop pixels.

        Args:
            landmarks: (5, 2) pixels in the image, in the order of ``points``.

        Raises:
            InputError: wrong shape, NaN, or points that coincide.
        """
        if landmarks.shape != (5, 2):
            raise InputError(f"landmarks have shape {landmarks.shape}", why="(5, 2) is needed")
        if self.method == "eyes-mouth":
            return similarity_transform(_midpoints(landmarks), _midpoints(self.points))
        return similarity_transform(landmarks, self.points)


def _template(
    name: str,
    size: tuple[int, int],
    points: list[tuple[float, float]],
    method: Literal["five-point", "eyes-mouth"] = "five-point",
) -> Template:
    values = np.array(points, dtype=np.float64)
    values.flags.writeable = False
    return Template(name, size, values, method)


# The five points of the DeepFace-EMD release, data_process/align_face.py; see its 96 x 112 list.
_POINTS_96X112 = [
    (30.2946, 51.6963),
    (65.5318, 51.5014),
    (48.0252, 71.7366),
    (33.5493, 92.3655),
    (62.7299, 92.2041),
]

# The same file's 160 x 160 list.
_POINTS_160X160 = [
    (61.4356, 54.6963),
    (118.5318, 54.6963),
    (93.5252, 90.7366),
    (68.5493, 122.3655),
    (110.7299, 122.3641),
]

TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        template.name: template
        for template in (
            # Eyes' midpoint at (64, 40), mouth's at (64, 88): 48 px apart. The warp uses no
            # more than these two; the points themselves are where LFW's mean face falls.
            _template(
                "lightcnn-128",
                (128, 128),
                [(43.5, 40.0), (84.5, 40.0), (64.0, 65.0), (47.0, 88.0), (81.0, 88.0)],
                "eyes-mouth",
            ),
            _template("deepface-emd-96x112", (112, 96), _POINTS_96X112),
            # InsightFace's 112 x 112: the same points 8 px further right.
            _template("arcface-112", (112, 112), [(x + 8.0, y) for x, y in _POINTS_96X112]),
            _template("deepface-emd-160", (160, 160), _POINTS_160X160),
            # The release has no list for 128 x 128; its loader resizes larger crops, so these
            # are the points of 160 x 160 at four fifths (pixel centres: x + 1/2 scales).
            _template(
                "deepface-emd-128",
                (128, 128),
                [(0.8 * x - 0.1, 0.8 * y - 0.1) for x, y in _POINTS_160X160],
            ),
        )
    }
)


def template(name: str) -> Template:
    """The template of that name.

    Raises:
        InputError: no such template; the message lists the known ones.
    """
    if name not in TEMPLATES:
        raise InputError(f"No alignment template {name!r}", todo=f"known: {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def similarity_transform(points: Floats, template_points: Floats) -> Float64:
    """Rotation, uniform scale and shift that take points closest to the template's.

    Minimises ``sum |A p_i + t - q_i|^2`` over similarities without reflection (Umeyama, IEEE
    PAMI 13(4), 1991). In the plane this is a complex line fit ``q = a p + b``: ``a`` holds scale
    and rotation, so a reflection cannot come out.

    Args:
        points: (N, 2) with N >= 2, pixels (x, y).
        template_points: (N, 2), where they should go.

    Returns:
        (2, 3) float64, the matrix ``[A | t]``.

    Raises:
        InputError: shapes differ, fewer than two points, NaN, or all points coincide.
    """
    if points.shape != template_points.shape or points.ndim != 2 or points.shape[1] != 2:
        raise InputError(
            f"points have shape {points.shape}, template points {template_points.shape}",
            why="both must be (N, 2)",
        )
    p = points[:, 0].astype(np.float64) + 1j * points[:, 1]
    q = template_points[:, 0].astype(np.float64) + 1j * template_points[:, 1]
    if len(p) < 2 or not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise InputError("a similarity needs at least two points, all of them finite numbers")
    centred = p - p.mean()
    spread = float(np.vdot(centred, centred).real)
    if spread == 0.0:
        raise InputError("the landmarks all lie on one spot, so no scale can be found")
    a = np.vdot(centred, q - q.mean()) / spread
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def _midpoints(landmarks: Floats) -> Float64:
    """(2, 2): the middle of the eyes and the middle of the mouth corners."""
    wide = np.asarray(landmarks, dtype=np.float64)
    return np.stack([wide[:2].mean(axis=0), wide[3:].mean(axis=0)])


def align(image: UInt8, landmarks: Floats, template: Template) -> UInt8:
    """Warp a face to its template.

    Bilinear, outside the photo black. Where the face is at least twice the template's size,
    the photo around it is averaged down first, so that large photos do not alias.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) pixels in the image: left eye, right eye, nose, left and right mouth
            corner as seen in the image.
        template: target layout.

    Returns:
        (h, w, 3) uint8 RGB of the template's size.

    Raises:
        InputError: image or landmarks are not of the shape or type above.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"the image has shape {image.shape} and type {image.dtype}",
            why="(H, W, 3) uint8 is needed",
            todo="load it with faceflow.faces.images.load_image",
        )
    image, matrix = _shrink(image, template.transform(landmarks), template.size)
    height, width = template.size
    crop = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, dtype=np.uint8)


def _shrink(image: UInt8, matrix: Float64, size: tuple[int, int]) -> tuple[UInt8, Float64]:
    """Average the part of a photo that the warp reads, until the warp shrinks less than twofold."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    factor = int(1 / scale)
    if factor < 2:
        return image, matrix
    rotation, shift = matrix[:, :2], matrix[:, 2]
    height, width = size
    corners = np.array([(-1, -1), (width, -1), (-1, height), (width, height)], dtype=np.float64)
    reached = (corners - shift) @ np.linalg.inv(rotation).T
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.floor(reached.min(axis=0)), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(reached.max(axis=0)), low + 1, limit).astype(int)
    # Whole blocks of factor x factor pixels: the last, incomplete ones repeat the edge.
    part = image[low[1] : high[1], low[0] : high[0]]
    extra = -(high - low) % factor
    padded = cv2.copyMakeBorder(part, 0, int(extra[1]), 0, int(extra[0]), cv2.BORDER_REPLICATE)
    blocks = (padded.shape[1] // factor, padded.shape[0] // factor)
    small = cv2.resize(padded, blocks, interpolation=cv2.INTER_AREA)
    # Pixel i of the small image is centred on pixel factor * i + (factor - 1) / 2 of the part.
    origin = low + (factor - 1) / 2
    moved = np.column_stack([rotation * factor, rotation @ origin + shift])
    return np.asarray(small, dtype=np.uint8), moved
