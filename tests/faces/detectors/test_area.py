"""Area averages against their definition."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.faces.detectors.area import MAX_PIXELS, AreaSampler


def average(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Adaptive average pooling by its definition: the plain mean over floor to ceil."""
    h, w = image.shape[:2]
    out = np.empty((height, width, 3))
    for i in range(height):
        for j in range(width):
            rows = slice(i * h // height, -(-(i + 1) * h // height))
            columns = slice(j * w // width, -(-(j + 1) * w // width))
            out[i, j] = image[rows, columns].mean(axis=(0, 1))
    return out


@settings(max_examples=60, deadline=None)
@given(
    h=st.integers(1, 40),
    w=st.integers(1, 40),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
)
def test_resize_is_the_mean_of_each_bin(h: int, w: int, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    resized = AreaSampler(image).resize(height, width)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, average(image, height, width), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 24), n=st.integers(0, 5), seed=st.integers(0, 2**32 - 1))
def test_crops_are_resized_parts(size: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    low = rng.integers(0, [60, 50], (n, 2))
    high = low + 1 + rng.integers(0, [60, 50] - low, (n, 2))
    crops = AreaSampler(image).crops(np.hstack([low, high]), size)
    assert crops.shape == (n, size, size, 3)
    for crop, (x0, y0), (x1, y1) in zip(crops, low, high, strict=True):
        np.testing.assert_allclose(crop, average(image[y0:y1, x0:x1], size, size), rtol=1e-6)


def test_beyond_the_photo_is_black() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    framed = cv2.copyMakeBorder(image, 9, 9, 9, 9, cv2.BORDER_CONSTANT)
    boxes = np.array([[-7, -9, 12, 10], [20, 5, 39, 29], [-9, -9, 39, 29], [32, 22, 38, 28]])
    crops = AreaSampler(image).crops(boxes, 7)
    np.testing.assert_allclose(crops, AreaSampler(framed).crops(boxes + 9, 7), rtol=1e-6)
    assert crops[3].max() == 0


def test_whole_ratios_agree_with_opencv() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    ours = AreaSampler(image).resize(20, 30)
    theirs = cv2.resize(image.astype(np.float32), (30, 20), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_largest_sums_fit() -> None:
    """All white, as large as allowed: one more pixel would overflow 32 bits."""
    side = int(np.sqrt(MAX_PIXELS))
    white = np.full((side, side, 3), 255, np.uint8)
    assert (AreaSampler(white).resize(2, 3) == 255).all()
    with pytest.raises(InputError, match="too many"):
        AreaSampler(np.zeros((side + 1, side + 1, 3), np.uint8))
