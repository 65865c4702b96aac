"""Crops: window sizes, places and the transform that goes with them."""

from __future__ import annotations

import numpy as np
import pytest

from faceflow.arrays import Float64, UInt8
from faceflow.errors import InputError
from faceflow.occlusion import lower_crop, random_crop, upper_crop


def _ramp(height: int, width: int) -> UInt8:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [(128, 128), (96, 112), (160, 100)])
def test_transform_takes_photo_points_to_the_enlarged_crop(size: tuple[int, int]) -> None:
    """A photo whose pixel values are their own coordinates shows where each pixel came from."""
    done = random_crop(_ramp(*size), seed=3)
    assert done.image.shape == (*size, 3)
    assert not done.covered.any()
    inverse = np.linalg.inv(np.vstack([done.transform, [0, 0, 1]]))
    for row in (20, size[0] // 2, size[0] - 21):
        for column in (20, size[1] // 2, size[1] - 21):
            x, y, _ = inverse @ [column, row, 1]
            assert abs(int(done.image[row, column, 0]) - x) <= 0.75
            assert abs(int(done.image[row, column, 1]) - y) <= 0.75


def test_published_window_is_90_of_128_pixels_and_reaches_everywhere() -> None:
    photo = _ramp(128, 128)
    lefts, tops = [], []
    for seed in range(60):
        transform = random_crop(photo, seed=seed).transform
        assert transform[0, 0] == pytest.approx(128 / 90)
        left = (0.5 * transform[0, 0] - 0.5 - transform[0, 2]) / transform[0, 0]
        top = (0.5 * transform[1, 1] - 0.5 - transform[1, 2]) / transform[1, 1]
        lefts.append(round(left))
        tops.append(round(top))
    for offsets in (lefts, tops):
        assert min(offsets) >= 0
        assert max(offsets) <= 38
        assert min(offsets) <= 5
        assert max(offsets) >= 33


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.01, float("nan")])
def test_impossible_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="not possible"):
        random_crop(_ramp(20, 20), fraction)


def test_whole_photo_is_a_crop_of_everything() -> None:
    photo = _ramp(20, 30)
    np.testing.assert_array_equal(random_crop(photo, 1.0).image, photo)


def test_half_crops_keep_their_half(photo: tuple[UInt8, Float64]) -> None:
    image, landmarks = photo
    lower, upper = lower_crop(image, landmarks), upper_crop(image, landmarks)
    for done, kept, lost in ((lower, [2, 3, 4], [0, 1]), (upper, [0, 1], [3, 4])):
        moved = landmarks @ done.transform[:, :2].T + done.transform[:, 2]
        inside = ((moved >= 0) & (moved < 256)).all(axis=1)
        assert inside[kept].all()
        assert not inside[lost].any()
        assert done.transform[0, 0] == pytest.approx(done.transform[1, 1], rel=0.02)


def test_half_off_the_photo_is_refused(photo: tuple[UInt8, Float64]) -> None:
    image, landmarks = photo
    with pytest.raises(InputError, match="lower face is off"):
        lower_crop(image, landmarks + np.array([0, 500]))
    with pytest.raises(InputError, match="upper face is off"):
        upper_crop(image, landmarks - np.array([0, 500]))
