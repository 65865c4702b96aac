"""What is known about facial landmarks: the 68 points by name, five of them, shares per cell.

The 68 points are those of the iBUG 300-W annotation, which dlib and FAN find too; left and
right are as seen in the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from faceflow.arrays import Float32, Float64, Floats
from faceflow.errors import InputError
from faceflow.features import Grid

GROUPS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "chin": tuple(range(17)),
        "left eyebrow": tuple(range(17, 22)),
        "right eyebrow": tuple(range(22, 27)),
        "nose bridge": tuple(range(27, 31)),
        "nose tip": tuple(range(31, 36)),
        "left eye": tuple(range(36, 42)),
        "right eye": tuple(range(42, 48)),
        # The corners of the mouth, outer (48, 54) and inner (60, 64), belong to both lips.
        "upper lip": (*range(48, 55), *range(60, 65)),
        "lower lip": (*range(54, 60), 48, *range(64, 68), 60),
    }
)
"""The nine groups of the published landmark files: 72 entries, because both lips hold the four
mouth corners."""

PUBLISHED_WEIGHTS: Float64 = np.bincount(np.concatenate([list(g) for g in GROUPS.values()])).astype(
    np.float64
)
"""(68,) how often each point stands in the nine groups: 2 for the four mouth corners, else 1."""
PUBLISHED_WEIGHTS.flags.writeable = False


def five_from_68(points: Floats, *, truncate: bool = False) -> Float64:
    """The five points that alignment needs, as the published code takes them from 68.

    Both eyes are the mean of their six points, the nose is point 30 (its tip), the mouth's
    corners are the inner ones, 60 and 64 (``data_process/align_face.py``).

    Args:
        points: (68, 2), (x, y) pixels in the iBUG order.
        truncate: cut each coordinate to a whole number, as the published code does. It moves
            points by up to a pixel towards the photo's corner; for parity only.

    Returns:
        (5, 2) float64 left eye, right eye, nose, left and right mouth corner.

    Raises:
        InputError: another shape, or NaN.
    """
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise InputError(
            f"landmarks have shape {points.shape}", why="(68, 2) finite numbers are needed"
        )
    wide = np.asarray(points, dtype=np.float64)
    five = np.stack(
        [wide[36:42].mean(axis=0), wide[42:48].mean(axis=0), wide[30], wide[60], wide[64]]
    )
    return np.trunc(five) if truncate else five


def landmark_share(
    points: Floats, size: tuple[int, int], grid: Grid, *, weights: Floats | None = None
) -> Float32:
    """The share of a face's landmarks that lies in each cell of the patch grid.

    The cell of a point is ``floor(y * h / H), floor(x * w / W)``; points outside the crop are
    skipped (``visualize_faces_lmk.py``).

    Args:
        points: (P, 2), (x, y) pixels of the *crop*.
        size: (H, W) of the crop.
        grid: (h, w) of the patches.
        weights: (P,) what each point counts, not negative; default 1. The published files
            count as :data:`PUBLISHED_WEIGHTS`.

    Returns:
        (R,) float32 with sum 1, or zeros when no point that counts lies inside.

    Raises:
        InputError: shapes do not fit, or a number is NaN or negative.
    """
    counts = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or counts.shape != points.shape[:1]:
        raise InputError(
            f"points have shape {points.shape}, their weights {counts.shape}",
            why="(P, 2) and (P,) are needed",
        )
    if not (np.isfinite(points).all() and np.isfinite(counts).all() and (counts >= 0).all()):
        raise InputError("landmarks and their weights must be finite, weights not negative")
    (height, width), (h, w) = size, grid
    row = np.floor(points[:, 1] * h / height).astype(np.int64)
    column = np.floor(points[:, 0] * w / width).astype(np.int64)
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    cell = row[inside] * w + column[inside]
    share = np.bincount(cell, counts[inside], minlength=h * w)
    total = share.sum()
    return np.asarray(share / total if total > 0 else share, dtype=np.float32)
