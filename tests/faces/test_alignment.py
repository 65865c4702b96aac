"""Similarity warps: the fit, the templates, the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.faces.alignment import TEMPLATES, Template, align, similarity_transform, template

finite = st.floats(-1e4, 1e4)


def similarity(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@given(
    scale=st.floats(0.01, 100),
    angle=st.floats(-np.pi, np.pi),
    shift=st.tuples(finite, finite),
    n=st.integers(2, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_similarity_is_recovered(
    scale: float, angle: float, shift: tuple[float, float], n: int, seed: int
) -> None:
    points = np.random.default_rng(seed).uniform(0, 100, (n, 2))
    matrix = similarity(scale, angle, shift)
    found = similarity_transform(points, apply(matrix, points))
    np.testing.assert_allclose(found, matrix, rtol=1e-6, atol=1e-6 * max(1.0, *map(abs, shift)))


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_fit_is_umeyamas(seed: int) -> None:
    """Second method: the SVD formulation, with its guard against reflections."""
    rng = np.random.default_rng(seed)
    p, q = rng.uniform(0, 100, (2, 5, 2))
    a, b = p - p.mean(axis=0), q - q.mean(axis=0)
    u, sigma, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    scale = (sigma * np.diag(sign)).sum() / (a**2).sum()
    rotation = scale * u @ sign @ vt
    found = similarity_transform(p, q)
    np.testing.assert_allclose(found[:, :2], rotation, atol=1e-9)
    np.testing.assert_allclose(found[:, 2], q.mean(axis=0) - rotation @ p.mean(axis=0), atol=1e-7)


def test_no_reflection_even_for_a_mirrored_face() -> None:
    points = TEMPLATES["arcface-112"].points
    found = similarity_transform(points * [-1, 1], points)
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize("name", TEMPLATES)
def test_landmarks_on_the_template_stay_where_they_are(name: str) -> None:
    t = TEMPLATES[name]
    np.testing.assert_allclose(t.transform(t.points), [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    assert t.points.shape == (5, 2)
    assert (t.points > 0).all()
    assert (t.points < t.size[::-1]).all()
    assert not t.points.flags.writeable


def test_the_lightcnn_template_fixes_two_points_exactly() -> None:
    landmarks = np.array([(210, 300), (330, 280), (290, 390), (230, 420), (345, 400)], float)
    matrix = TEMPLATES["lightcnn-128"].transform(landmarks)
    np.testing.assert_allclose(apply(matrix, landmarks[:2].mean(axis=0)), [64, 40])
    np.testing.assert_allclose(apply(matrix, landmarks[3:].mean(axis=0)), [64, 88])


def test_align_moves_the_pixels_with_the_landmarks() -> None:
    """Five dots painted at the landmarks must light up at the template's points."""
    t = TEMPLATES["arcface-112"]
    matrix = similarity(1.7, 0.3, (60, 20))
    landmarks = apply(matrix, t.points)
    image = np.zeros((300, 320, 3), np.uint8)
    y, x = np.mgrid[:300, :320]
    for point in landmarks:
        image[np.hypot(x - point[0], y - point[1]) < 5] = 255
    crop = align(image, landmarks, t)
    assert crop.shape == (112, 112, 3)
    assert crop.dtype == np.uint8
    for column, row in t.points.round().astype(int):
        assert crop[row, column].min() > 200
    assert crop[80, 56].max() == 0


@pytest.mark.parametrize("scale", [0.3, 0.9, 2.0, 3.3, 7.9])
def test_a_large_photo_is_averaged_not_sampled(scale: float) -> None:
    """A smooth picture of any size gives the same crop; a fine checkerboard becomes grey."""
    t = TEMPLATES["lightcnn-128"]
    matrix = similarity(scale, 0.2, (30, 10))
    side = int(180 * scale) + 60
    y, x = np.mgrid[:side, :side]
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    column, row = apply(back[:2], np.stack([x, y], axis=2).reshape(-1, 2).astype(float)).T
    wave = 128 + 60 * np.sin(column / 15) + 60 * np.cos(row / 11)
    image = np.repeat(wave.reshape(side, side, 1), 3, axis=2).clip(0, 255).astype(np.uint8)
    crop = align(image, apply(matrix, t.points), t).astype(float)
    row, column = np.mgrid[20:100, 40:100]
    expected = 128 + 60 * np.sin(column / 15) + 60 * np.cos(row / 11)
    assert np.abs(crop[20:100, 40:100, 0] - expected).max() < 6
    if scale >= 2:
        board = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
        grey = align(board, apply(matrix, t.points), t)[20:100, 40:100].astype(float)
        assert np.abs(grey - 127.5).max() < 45


def test_outside_the_photo_is_black() -> None:
    t = TEMPLATES["lightcnn-128"]
    image = np.full((60, 60, 3), 200, np.uint8)
    crop = align(image, t.points - [60, 0], t)
    assert (crop[:, :59] == 0).all()
    assert (crop[61:] == 0).all()
    assert (crop[:59, 61:119] == 200).all()
    far = align(image, t.points + 1e6, t)
    assert (far == 0).all()


def test_align_refuses_bad_input() -> None:
    t = template("lightcnn-128")
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(InputError, match="image has shape"):
        align(image.astype(float), t.points, t)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="image has shape"):
        align(image[..., 0], t.points, t)
    with pytest.raises(InputError, match="landmarks have shape"):
        align(image, t.points[:4], t)
    with pytest.raises(InputError, match="one spot"):
        align(image, np.zeros((5, 2)), t)
    with pytest.raises(InputError, match="finite"):
        align(image, np.full((5, 2), np.nan), t)
    with pytest.raises(InputError, match="shape"):
        similarity_transform(t.points, t.points[:2])
    with pytest.raises(InputError, match="two points"):
        similarity_transform(t.points[:1], t.points[:1])


def test_an_unknown_template_lists_the_known() -> None:
    with pytest.raises(InputError, match="lightcnn-128"):
        template("nope")
    assert isinstance(template("deepface-emd-160"), Template)
