"""Crops: part of the photo is cut away and the rest enlarged to the photo's size."""

from __future__ import annotations

import cv2
import numpy as np

from faceflow.arrays import Floats, UInt8
from faceflow.errors import InputError
from faceflow.occlusion.layer import Occluded, check_image
from faceflow.occlusion.pose import check_landmarks
from faceflow.occlusion.seeds import generator


def random_crop(image: UInt8, fraction: float = 0.7, seed: int = 0) -> Occluded:
    """The published crop: a random window of ``fraction`` of each side, resized back.

    DeepFace-EMD (Phan and Nguyen, CVPR 2022) crops aligned 128 x 128 faces this way with
    ``fraction`` 0.7; on a whole photo the window may miss the face.

    Args:
        image: (H, W, 3) uint8 RGB.
        fraction: side of the window relative to the photo, above 0 and at most 1.
        seed: the same image and seed always give the same window.

    Returns:
        The enlarged window. Nothing in it is painted over, so ``covered`` is all False.

    Raises:
        InputError: ``fraction`` is out of range, or the image cannot be used.
    """
    photo = check_image(image)
    if not 0 < fraction <= 1:
        raise InputError(f"a crop of {fraction} of the photo is not possible", why="0 to 1 is")
    height, width = photo.shape[:2]
    rng = generator("crop", photo, seed)
    wide, high = max(1, round(fraction * width)), max(1, round(fraction * height))
    left = int(rng.integers(width - wide + 1))
    top = int(rng.integers(height - high + 1))
    return _enlarge(photo, left, top, wide, high)


def lower_crop(image: UInt8, landmarks: Floats, seed: int = 0) -> Occluded:
    """Keep only the lower face: cut the photo above a line between eyes and nose tip.

    The line lies 0.3 to 0.5 of the way from the eyes to the nose, chosen by image and seed. The
    window keeps the photo's shape, so it is narrower too, centred on the face. Meant for
    photos that are mostly face.

    Raises:
        InputError: landmarks or image cannot be used, or the lower face is off the photo.
    """
    return _half(image, landmarks, seed, lower=True)


def upper_crop(image: UInt8, landmarks: Floats, seed: int = 0) -> Occluded:
    """Keep only the upper face: cut the photo below a line 0.4 to 0.6 from eyes to nose tip.

    See :func:`lower_crop`.
    """
    return _half(image, landmarks, seed, lower=False)


def _half(image: UInt8, landmarks: Floats, seed: int, *, lower: bool) -> Occluded:
    photo = check_image(image)
    points = check_landmarks(landmarks)
    height, width = photo.shape[:2]
    rng = generator("lower-crop" if lower else "upper-crop", photo, seed)
    share = rng.uniform(0.3, 0.5) if lower else rng.uniform(0.4, 0.6)
    eyes = points[:2].mean(axis=0)
    line = round(float(eyes[1] + share * (points[2, 1] - eyes[1])))
    high = height - line if lower else line
    if not 1 <= high <= height:
        raise InputError(
            f"the {'lower' if lower else 'upper'} face is off the photo",
            why=f"the cut at y = {line} is outside its {height} rows",
        )
    wide = max(1, round(width * high / height))
    centre = float(points[:, 0].mean())
    left = int(np.clip(round(centre - wide / 2), 0, width - wide))
    return _enlarge(photo, left, line if lower else 0, wide, high)


def _enlarge(photo: UInt8, left: int, top: int, wide: int, high: int) -> Occluded:
    height, width = photo.shape[:2]
    window = photo[top : top + high, left : left + wide]
    grown = cv2.resize(
        np.ascontiguousarray(window), (width, height), interpolation=cv2.INTER_LINEAR
    )
    scale_x, scale_y = width / wide, height / high
    # Pixel centres: x' + 0.5 = (x + 0.5 - left) * scale.
    transform = np.array(
        [
            [scale_x, 0, (0.5 - left) * scale_x - 0.5],
            [0, scale_y, (0.5 - top) * scale_y - 0.5],
        ]
    )
    return Occluded(np.asarray(grown, np.uint8), np.zeros((height, width), bool), transform)
