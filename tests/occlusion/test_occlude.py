"""Every occlusion: determinism, bounds, and what it leaves alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from faceflow.arrays import Float64, UInt8
from faceflow.errors import InputError
from faceflow.occlusion import blob, mask, occlude, occlusions, sunglasses

CROPS = ("crop", "lower-crop", "upper-crop")
PAINTED = tuple(name for name in occlusions() if name not in CROPS)
KINDS = ("mask", "sunglasses", "hat", "scarf", "hand", "blob")  # one of each family

_HASH = """
import hashlib
from faceflow.occlusion import occlude
from drawn_people import identity, portrait
shot = portrait(identity(3), 1)
for name in ("mask", "sunglasses", "crop", "hand"):
    done = occlude(name, shot.image, shot.landmarks, 5)
    print(hashlib.sha256(done.image.tobytes() + done.covered.tobytes()).hexdigest())
"""


def test_other_processes_give_the_same_result(photo: tuple[UInt8, Float64]) -> None:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "11",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    there = subprocess.run(
        [sys.executable, "-c", _HASH], env=environment, capture_output=True, text=True, check=True
    )
    here = []
    for name in ("mask", "sunglasses", "crop", "hand"):
        done = occlude(name, *photo, 5)
        here.append(hashlib.sha256(done.image.tobytes() + done.covered.tobytes()).hexdigest())
    assert there.stdout.split() == here


@pytest.mark.parametrize("name", PAINTED)
def test_only_the_covered_part_changes(name: str, photo: tuple[UInt8, Float64]) -> None:
    image, landmarks = photo
    before = image.copy()
    done = occlude(name, image, landmarks, 1)
    np.testing.assert_array_equal(image, before)
    assert done.image.shape == image.shape
    assert done.image.dtype == np.uint8
    assert done.covered.shape == image.shape[:2]
    assert done.covered.dtype == np.bool_
    np.testing.assert_array_equal(done.image[~done.covered], image[~done.covered])
    changed = (done.image != image).any(axis=2)
    assert changed[done.covered].mean() > 0.9
    assert 0.02 < done.covered.mean() < 0.5
    np.testing.assert_array_equal(done.transform, np.eye(2, 3))


@pytest.mark.parametrize("name", ["mask", "sunglasses", "crop", "hand"])
def test_seeds_and_images_vary_it(name: str, photo: tuple[UInt8, Float64]) -> None:
    image, landmarks = photo
    first = occlude(name, image, landmarks, 1)
    np.testing.assert_array_equal(first.image, occlude(name, image, landmarks, 1).image)
    assert any((occlude(name, image, landmarks, s).image != first.image).any() for s in (2, 3))
    brighter = np.minimum(image, 254) + np.uint8(1)
    other = occlude(name, brighter, landmarks, 1)
    assert np.abs(other.image.astype(int) - first.image).max() > 8


def _covers(covered: np.ndarray, points: Float64) -> list[bool]:
    return [bool(covered[round(y), round(x)]) for x, y in points]


@pytest.mark.parametrize("name", [n for n in PAINTED if n.startswith("mask")])
def test_masks_hide_nose_and_mouth_but_not_the_eyes(
    name: str, photo: tuple[UInt8, Float64]
) -> None:
    for seed in range(3):
        covered = occlude(name, *photo, seed).covered
        assert _covers(covered, photo[1]) == [False, False, True, True, True]


@pytest.mark.parametrize("name", [n for n in PAINTED if n.startswith("sunglasses")])
def test_sunglasses_hide_the_eyes_but_not_nose_tip_or_mouth(
    name: str, photo: tuple[UInt8, Float64]
) -> None:
    assert _covers(occlude(name, *photo, 0).covered, photo[1]) == [True, True, False, False, False]


def test_hats_and_scarves_leave_the_middle_of_the_face(photo: tuple[UInt8, Float64]) -> None:
    for seed in range(3):
        assert _covers(occlude("hat", *photo, seed).covered, photo[1])[2:] == [False] * 3
        assert _covers(occlude("scarf", *photo, seed).covered, photo[1])[:2] == [False] * 2


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_masks_follow_a_turned_photo(turns: int, photo: tuple[UInt8, Float64]) -> None:
    image, landmarks = photo
    size = len(image)
    for _ in range(turns):  # a quarter turn counter-clockwise each
        image = np.ascontiguousarray(np.rot90(image))
        landmarks = np.column_stack([landmarks[:, 1], size - 1 - landmarks[:, 0]])
    for name, expected in (("mask", [False] * 2 + [True] * 3), ("sunglasses", [True] * 2)):
        covered = occlude(name, image, landmarks, 0).covered
        assert _covers(covered, landmarks)[: len(expected)] == expected


@pytest.mark.parametrize("scale", [0.12, 0.5, 3.0])
def test_cover_grows_with_the_face(scale: float, frontal: Float64) -> None:
    rng = np.random.default_rng(0)
    side = round(256 * scale)
    image = rng.integers(0, 255, (side, side, 3), dtype=np.uint8)
    landmarks = (frontal * 55 + [128, 100]) * scale
    share = mask(image, landmarks, style="surgical", seed=0).covered.mean()
    assert 0.10 < share < 0.30


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("centre", "eyes"),
    [((0, 0), 40), ((99, 79), 40), ((-30, 40), 40), ((1000, -1000), 40), ((50, 40), 4000),
     ((1e6, 1e6), 1e5), ((50, 40), 2.5)],
)  # fmt: skip
def test_faces_at_the_edge_off_the_image_or_of_odd_size(
    name: str, centre: tuple[float, float], eyes: float, frontal: Float64
) -> None:
    image = np.random.default_rng(1).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    done = occlude(name, image, frontal * eyes + centre, 0)
    np.testing.assert_array_equal(done.image[~done.covered], image[~done.covered])
    if abs(centre[0]) >= 1000:
        assert not done.covered.any()


@pytest.mark.parametrize("name", [*KINDS, *CROPS])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (12, 12)])
def test_tiny_images(name: str, shape: tuple[int, int], frontal: Float64) -> None:
    image = np.full((*shape, 3), 90, np.uint8)
    # Eyes 3 pixels apart, so that one row alone ends above the lower face.
    landmarks = frontal * 3 + [shape[1] / 2, min(3, shape[0] / 2)]
    if name == "lower-crop" and shape[0] == 1:
        with pytest.raises(InputError, match="off the photo"):
            occlude(name, image, landmarks, 0)
        return
    done = occlude(name, image, landmarks, 0)
    assert done.image.shape == image.shape


@pytest.mark.parametrize("name", [n for n in (*KINDS, *CROPS) if n != "crop"])
@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 2)), "fall together"),
        (np.full((5, 2), np.nan), "NaN"),
        (np.column_stack([np.arange(5.0) * 10, np.arange(5.0) * 10]), "one line"),
        (np.array([[60, 40], [30, 40], [45, 60], [50, 75], [40, 75]]), "swapped"),
        (np.zeros((68, 2)), "shape"),
    ],
)
def test_degenerate_landmarks_are_refused(name: str, points: Float64, message: str) -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    with pytest.raises(InputError, match=message):
        occlude(name, image, points, 0)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
    ],
)
@pytest.mark.parametrize("name", ["mask", "sunglasses", "crop", "hat"])
def test_images_of_another_kind_are_refused(name: str, image: np.ndarray, frontal: Float64) -> None:
    with pytest.raises(InputError, match="image has shape"):
        occlude(name, image, frontal * 30 + 50, 0)


def test_unknown_names_list_the_known(photo: tuple[UInt8, Float64]) -> None:
    with pytest.raises(InputError, match=r"'moustache'.*mask.*sunglasses-aviator.*blob"):
        occlude("moustache", *photo, 0)
    with pytest.raises(InputError, match="surgical"):
        mask(*photo, style="lace")
    with pytest.raises(InputError, match="black"):
        mask(*photo, colour="invisible")
    with pytest.raises(InputError, match="three numbers"):
        mask(*photo, colour=(2.0, 0.0, 0.0))
    with pytest.raises(InputError, match="aviator"):
        sunglasses(*photo, style="monocle")
    with pytest.raises(InputError, match="share"):
        blob(*photo, share=2.0)
    with pytest.raises(InputError, match="negative"):
        occlude("mask", *photo, -1)


def test_colours_are_the_ones_asked_for(photo: tuple[UInt8, Float64]) -> None:
    image, landmarks = photo
    x, y = (int(v) for v in landmarks[3:].mean(axis=0))
    red = mask(image, landmarks, style="kn95", colour="red", seed=0).image[y, x].astype(int)
    green = mask(image, landmarks, style="kn95", colour=(0.1, 0.7, 0.2), seed=0).image[y, x]
    assert red[0] > 2 * max(red[1], red[2])
    assert int(green[1]) > 2 * int(green[0])


def test_masks_are_darker_in_darker_photos(photo: tuple[UInt8, Float64]) -> None:
    image, landmarks = photo
    x, y = (int(v) for v in landmarks[3:].mean(axis=0))
    window = (slice(y - 8, y + 9), slice(x - 8, x + 9))
    levels = [
        mask(np.uint8(image * share), landmarks, style="surgical", colour="white").image[window]
        for share in (1.0, 0.4)
    ]
    assert levels[1].mean() < 0.75 * levels[0].mean()
