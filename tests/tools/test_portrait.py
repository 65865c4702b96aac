"""Drawing: the same numbers give the same picture, and landmarks lie where they should."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from drawn_people import draw, identity, portrait, variation
from drawn_people.identity import HAIR_STYLES
from faceflow.errors import InputError

_HASH = """
import hashlib
from drawn_people import draw, identity
for who, photo in ((0, 0), (5, 3)):
    print(hashlib.sha256(draw(identity(who), photo).tobytes()).hexdigest())
"""


def test_other_processes_draw_the_same_pictures() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run(
        [sys.executable, "-c", _HASH], env=environment, capture_output=True, text=True, check=True
    )
    here = [
        hashlib.sha256(draw(identity(who), photo).tobytes()).hexdigest()
        for who, photo in ((0, 0), (5, 3))
    ]
    assert there.stdout.split() == here


@pytest.mark.parametrize("size", [32, 100, 256, 400])
def test_picture_has_the_size_asked_for(size: int) -> None:
    shot = portrait(identity(3), 1, size=size)
    assert shot.image.shape == (size, size, 3)
    assert shot.image.dtype == np.uint8
    full = portrait(identity(3), 1).landmarks
    np.testing.assert_allclose((shot.landmarks + 0.5) / size, (full + 0.5) / 256, atol=1e-9)


@pytest.mark.parametrize("size", [0, 31, 1025])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="cannot be drawn"):
        portrait(identity(0), 0, size=size)


def test_people_and_photos_differ() -> None:
    a, again, other_photo, other = (
        draw(identity(who), photo).astype(int) for who, photo in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    assert (a == again).all()
    assert np.abs(a - other_photo).mean() > 5
    assert np.abs(a - other).mean() > 5
    assert identity(0) != identity(1)
    assert variation(0, 1) != variation(1, 1)


def test_neighbouring_people_do_not_share_their_main_features() -> None:
    people = [identity(seed) for seed in range(24)]
    skins = {tuple(np.round(who.skin, 2)) for who in people}
    assert len(skins) == len(people)
    assert len({who.hair_style for who in people}) >= 6
    assert len({who.beard for who in people}) == 5
    assert np.std([who.eye_x for who in people]) > 0.025


@pytest.mark.parametrize("photo", range(4))
def test_landmarks_lie_on_the_drawn_features(photo: int) -> None:
    """Dark pupils at the eyes, for a face whose pupils stand out; points in their order."""
    who = replace(identity(2), iris=(0.05, 0.03, 0.02), liner=0.0)
    shown = replace(variation(2, photo), gaze=(0.0, 0.0), lids=1.0, smile=0.0)
    shot = portrait(who, shown)
    left, right, nose, left_mouth, right_mouth = shot.landmarks
    assert left[0] < nose[0] < right[0]
    assert left_mouth[0] < right_mouth[0]
    assert left[1] < nose[1] < left_mouth[1]
    grey = shot.image.mean(axis=2)
    for x, y in (left, right):
        column, row = round(x), round(y)
        eye = grey[row - 2 : row + 3, column - 2 : column + 3].mean()
        white = max(
            grey[row - 1 : row + 2, column - 9 : column + 10].max(axis=0).tolist(),
        )
        assert eye < 0.6 * white


def test_turning_the_head_moves_the_nose_and_keeps_the_person() -> None:
    who, base = identity(4), variation(4, 0)
    noses = []
    for yaw in (-25.0, 0.0, 25.0):
        points = portrait(who, replace(base, yaw=yaw, pitch=0.0, roll=0.0)).landmarks
        noses.append(points[2, 0] - points[:2, 0].mean())
    assert noses[0] < -6 < noses[1] + 3 < 6 < noses[2]


@pytest.mark.parametrize("style", sorted(HAIR_STYLES))
def test_every_hair_style_draws(style: str) -> None:
    who = replace(identity(1), hair_style=style, hair_colour=(0.95, 0.1, 0.1), skin=(0.8, 0.8, 0.8))
    shown = replace(variation(1, 0), background=((0.5, 0.5, 0.5),) * 2, clothes=(0.5, 0.5, 0.5))
    image = draw(who, shown).astype(int)
    red = (image[..., 0] - image[..., 1]) > 40
    assert 0.01 < red.mean() < 0.5


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"), [(50, 0, 0), (-50, 20, 30), (0, -25, -40), (35, 25, 170)]
)
def test_large_angles_draw(yaw: float, pitch: float, roll: float) -> None:
    shown = replace(variation(0, 1), yaw=yaw, pitch=pitch, roll=roll)
    shot = portrait(identity(0), shown)
    assert np.isfinite(shot.landmarks).all()
    assert shot.image.std() > 10
