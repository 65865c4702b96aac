"""Bands at their bounds, words, and each measure against a photo that was spoilt on purpose."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from faceflow.features import FaceFeatures
from faceflow.occlusion.pose import GENERIC
from faceflow.quality import BANDS, BOUNDS, Bounds, Quality, measure, sharpness

FINE = Quality(size=120.0, sharpness=400.0, yaw=3.0, detection=0.999, length=20.0, visible=0.95)


def test_a_fine_face_has_no_flaw() -> None:
    assert FINE.band == "good"
    assert FINE.flaws == ()
    assert set(FINE.bands) == set(BOUNDS)
    bare = Quality(size=120.0, sharpness=400.0)
    assert set(bare.bands) == {"size", "sharpness"}
    assert bare.band == "good"


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_each_measure_falls_into_its_bands(name: str) -> None:
    bounds = BOUNDS[name]
    worse = 1 if bounds.poor > bounds.fair else -1  # the way to the bad side
    step = 1e-6 * worse
    at = [bounds.fair, bounds.fair + step, bounds.poor, bounds.poor + step]
    bands = [replace(FINE, **{name: value}).band for value in at]
    assert bands == ["good", "fair", "fair", "poor"]
    assert bounds.word in replace(FINE, **{name: at[-1]}).flaws[0]
    assert replace(FINE, **{name: at[-1]}).flaws[0].startswith("too ")
    assert replace(FINE, **{name: at[1]}).flaws[0].startswith("rather ")


def test_the_worst_measure_counts_and_all_are_said() -> None:
    mixed = replace(FINE, visible=BOUNDS["visible"].poor - 0.01, yaw=-BOUNDS["yaw"].fair - 1)
    assert mixed.band == "poor"
    assert mixed.flaws == (
        f"too covered ({100 * (BOUNDS['visible'].poor - 0.01):.0f}% visible)",
        f"rather turned ({BOUNDS['yaw'].fair + 1:.0f} degrees)",
    )


def test_worse_than_the_least() -> None:
    fair = replace(FINE, size=BOUNDS["size"].poor)
    assert [fair.below(least) for least in BANDS] == [True, False, False]
    assert Bounds(1.0, 2.0, "high").band(2.5) == "poor"


def test_blur_lowers_sharpness_and_plain_pictures_have_none() -> None:
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
    values = [sharpness(cv2.GaussianBlur(crop, (0, 0), s) if s else crop) for s in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert sharpness(np.full((128, 128, 3), 77, np.uint8)) == 0
    # Second way: the four-neighbour Laplacian written out, of the inner part.
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float64)
    by_hand = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    assert sharpness(crop) == pytest.approx(by_hand[13:-13, 13:-13].var())


@pytest.mark.parametrize("degrees", [-45.0, 0.0, 30.0])
def test_yaw_is_read_off_a_turned_head(degrees: float) -> None:
    angle = np.radians(degrees)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    landmarks = (GENERIC @ turn.T)[:, :2] * 50 + 100
    found = measure(np.zeros((112, 112, 3), np.uint8), np.array([0, 0, 30, 120.0]), landmarks)
    assert found.yaw == pytest.approx(degrees, abs=4)
    assert found.size == pytest.approx(60)
    assert found.detection is None


def test_landmarks_that_no_face_has_give_no_yaw() -> None:
    points = np.zeros((5, 2))
    assert measure(np.zeros((9, 9, 3), np.uint8), np.arange(4.0), points).yaw is None


def test_the_length_of_the_embedding_is_kept_until_it_cannot_be() -> None:
    rng = np.random.default_rng(0)
    raw = 7 * rng.standard_normal((3, 5))
    faces = FaceFeatures.from_maps(raw, rng.standard_normal((3, 4, 2, 2)))
    assert faces.length is not None
    np.testing.assert_allclose(faces.length, np.linalg.norm(raw, axis=1), rtol=1e-6)
    assert faces[1].length == faces.length[1]
    joined = FaceFeatures.concatenate([faces[2], faces[0]])
    assert joined.length is not None
    np.testing.assert_array_equal(joined.length, faces.length[[2, 0]])
    without = replace(faces, length=None)
    assert FaceFeatures.concatenate([faces, without]).length is None
    assert faces.regrid((1, 1)).length is faces.length
