"""The pose fitted to five landmarks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drawn_people import identity, portrait, variation
from faceflow.occlusion.pose import GENERIC, FacePose


@pytest.mark.parametrize("yaw", [-40, 0, 25])
@pytest.mark.parametrize("roll", [-150, 0, 20])
def test_pose_of_the_generic_face_is_found(yaw: float, roll: float) -> None:
    a, r = np.deg2rad([yaw, roll])
    turned = (
        GENERIC @ np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]).T
    )
    plane = np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]])
    pose = FacePose.fit(turned[:, :2] @ plane.T * 60 + [200, 150])
    assert np.rad2deg(pose.yaw) == pytest.approx(yaw, abs=2)
    assert np.rad2deg(pose.roll) == pytest.approx(roll, abs=1)
    assert pose.scale == pytest.approx(60, rel=0.03)
    np.testing.assert_allclose(
        pose.project(GENERIC)[:, :2], turned[:, :2] @ plane.T * 60 + [200, 150], atol=1.5
    )


def test_pixels_and_face_coordinates_are_inverse() -> None:
    pose = FacePose.fit(portrait(identity(1), 1).landmarks)
    pixels = np.random.default_rng(0).uniform(0, 256, (20, 2))
    np.testing.assert_allclose(pose.to_pixels(pose.from_pixels(pixels)), pixels, atol=1e-9)


def test_yaw_of_synthetic_faces_is_read_with_the_right_sign() -> None:
    for seed in range(2):
        yaws = []
        for yaw in (-25.0, 0.0, 25.0):
            shown = replace(variation(seed, 0), yaw=yaw, pitch=0.0)
            yaws.append(np.rad2deg(FacePose.fit(portrait(identity(seed), shown).landmarks).yaw))
        assert yaws[0] < -12 < yaws[1] + 4 < 12 < yaws[2]


def test_results_do_not_depend_on_where_the_face_is() -> None:
    points = portrait(identity(2), 2).landmarks
    here, there = FacePose.fit(points), FacePose.fit(points * 3 + [1000, -500])
    assert there.yaw == pytest.approx(here.yaw, abs=1e-6)
    assert there.scale == pytest.approx(3 * here.scale, rel=1e-6)
    np.testing.assert_allclose(there.origin, here.origin * 3 + [1000, -500], atol=1e-4)
