"""Corruptions: higher levels are farther off, results are fixed by image and seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import Float64, UInt8
from faceflow.errors import InputError
from faceflow.occlusion import (
    alter,
    alterations,
    corrupt,
    corruptions,
    needs_landmarks,
    occlude,
    occlusions,
)

LEVELS = (1, 2, 3, 4, 5)
NAMES = corruptions()


def distance(a: UInt8, b: UInt8) -> float:
    return float(np.sqrt(((a.astype(float) - b) ** 2).mean()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_higher_level_is_farther_from_the_original(
    name: str, seed: int, photo: tuple[UInt8, Float64]
) -> None:
    image, before = photo[0], photo[0].copy()
    off = [distance(image, corrupt(name, image, level, seed)) for level in LEVELS]
    assert off[0] > 0.5
    assert (np.diff(off) > 0.2).all(), off
    np.testing.assert_array_equal(image, before)


@given(
    # JPEG rounds flat grey up or down as its tables happen to fall.
    name=st.sampled_from([name for name in NAMES if name != "jpeg"]),
    pixels=st.integers(40, 255),  # black cannot become darker
    seed=st.integers(0, 3),
)
@settings(max_examples=30, deadline=None)
def test_flat_pictures_are_no_exception(name: str, pixels: int, seed: int) -> None:
    """No level is nearer than the one before, where there is nothing to blur either."""
    image = np.full((160, 150, 3), pixels, np.uint8)
    off = [distance(image, corrupt(name, image, level, seed)) for level in LEVELS]
    assert (np.diff(off) >= -0.02).all(), off


@pytest.mark.parametrize("name", NAMES)
def test_image_and_seed_decide(name: str, photo: tuple[UInt8, Float64]) -> None:
    image = photo[0]
    first, again = (corrupt(name, image, 3, 5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    other = corrupt(name, image, 3, 6)
    assert (distance(first, other) > 0) == (name in ("noise", "motion-blur", "darkness"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3), (97, 41, 3)])
def test_any_size_will_do(name: str, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for level in (1, 5):
        assert corrupt(name, image, level).shape == shape


def test_blur_keeps_the_mean_and_motion_blurs_one_direction() -> None:
    """A dot: Gaussian blur spreads it alike everywhere, motion along one line."""
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[45:56, 45:56] = 255
    spread = {}
    for name in ("blur", "motion-blur"):
        done = corrupt(name, dot, 5)[:, :, 0].astype(float)
        assert done.sum() == pytest.approx(dot[:, :, 0].sum(), rel=0.02)
        y, x = np.mgrid[:101, :101] - 50
        cov = np.array([[(done * a * b).sum() for a in (x, y)] for b in (x, y)]) / done.sum()
        spread[name] = np.linalg.eigvalsh(cov) - 10.0  # the square itself: (11² - 1) / 12
    np.testing.assert_allclose(spread["blur"], (0.04 * 101) ** 2, rtol=0.1)
    low, high = spread["motion-blur"]
    assert low < 1
    assert high == pytest.approx((0.18 * 101) ** 2 / 12, rel=0.2)


def test_exposure_is_light_not_numbers() -> None:
    """Grey 128 is 0.22 of full light (gamma 2.2); a third of that is grey 78, 1.6 times 158."""
    grey = np.full((60, 60, 3), 128, np.uint8)
    assert corrupt("darkness", grey, 1).mean() == pytest.approx(
        255 * (0.2195 / 3) ** (1 / 2.2), abs=1
    )
    assert (corrupt("overexposure", grey, 1) == 158).all()
    assert (corrupt("overexposure", grey, 5) == 255).all()


def test_low_resolution_leaves_small_photos_alone() -> None:
    image = np.random.default_rng(1).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    np.testing.assert_array_equal(corrupt("low-resolution", image, 1), image)
    assert distance(corrupt("low-resolution", image, 2), image) > 0


@pytest.mark.parametrize("level", [0, 6, -1, 2.5])
def test_unknown_levels_and_names_are_refused(level: float) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(InputError, match=r"1 \(slight\) to 5"):
        corrupt("blur", image, level)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no corruption is called 'fog'.*motion-blur"):
        corrupt("fog", image)
    with pytest.raises(InputError, match="negative"):
        corrupt("noise", image, 1, -1)


def test_one_name_for_covers_and_corruptions(photo: tuple[UInt8, Float64]) -> None:
    image, landmarks = photo
    assert len(alterations()) == len(set(alterations())) == len(occlusions()) + 35
    for name in ("hat", "crop"):
        expected = occlude(name, image, landmarks, 3).image
        np.testing.assert_array_equal(alter(name, image, landmarks, 3), expected)
    np.testing.assert_array_equal(
        alter("motion-blur-2", image, None, 3), corrupt("motion-blur", image, 2, 3)
    )
    assert [needs_landmarks(name) for name in ("hat", "crop", "blur-1")] == [True, False, False]
    alter("crop", image)
    with pytest.raises(InputError, match="hat needs landmarks"):
        alter("hat", image)
    for name in ("blur", "blur-6", "mask-3", "", "3"):
        with pytest.raises(InputError, match="no cover called"):
            alter(name, image, landmarks)
