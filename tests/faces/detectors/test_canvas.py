"""Photos and windows at a network's size: coordinates lead back, nothing is distorted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.faces.detectors.canvas import fit, window

SIDES = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(32, 200))
def test_a_whole_photo(height: int, width: int, longest: int) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    canvas = fit(image, longest)
    shown_w, shown_h = canvas.shown
    assert max(canvas.shown) == longest
    assert all(side % 32 == 0 for side in canvas.pixels.shape[:2])
    assert (canvas.pixels[:shown_h, :shown_w] == 200).all()
    assert (canvas.pixels[shown_h:] == 0).all()
    assert (canvas.pixels[:, shown_w:] == 0).all()
    np.testing.assert_allclose(
        canvas.to_photo(np.array([[0, 0], canvas.shown])), [[0, 0], [width, height]]
    )
    points = np.random.default_rng(0).uniform(-9, 99, (4, 5, 2))
    np.testing.assert_allclose(canvas.to_canvas(canvas.to_photo(points)), points)


def test_a_dot_is_found_where_it_was() -> None:
    image = np.zeros((100, 60, 3), np.uint8)
    image[70:74, 40:44] = 255  # its centre is at (42, 72)
    for canvas in (
        fit(image, 320),
        fit(image, 64),
        fit(image, size=(96, 128)),
        fit(image, 320, margin=0.25),
        window(image, np.array([20.2, 40.4, 90.0, 110.0]), 256),
        window(image, np.array([-30, -40, 200, 190]), size=(256, 256)),
    ):
        light = canvas.pixels[..., 0].astype(np.float64)
        rows, columns = np.indices(light.shape) + 0.5
        middle = np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()
        np.testing.assert_allclose(canvas.to_photo(middle), [42, 72], atol=1.0)


def test_a_window_beyond_the_photo_is_black_there() -> None:
    image = np.full((40, 40, 3), 9, np.uint8)
    canvas = window(image, np.array([-40, 0, 40, 40]), 64)
    assert canvas.pixels.shape == (32, 64, 3)
    assert (canvas.pixels[:, :32] == 0).all()
    assert (canvas.pixels[:, 32:] == 9).all()
    assert (window(image, np.array([90, 90, 99, 99]), 32).pixels == 0).all()


def test_the_tensor_is_planes_of_floats() -> None:
    image = np.random.default_rng(1).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    tensor = fit(image, 64).tensor(127.5, 128.0)
    assert tensor.shape == (1, 3, 32, 64)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor[0].transpose(1, 2, 0), (image - 127.5) / 128, atol=1e-6)


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [5.2, 5.2, 5.3, 5.3]])
def test_an_empty_window_is_one_pixel(box: list[float]) -> None:
    image = np.full((10, 10, 3), 7, np.uint8)
    assert (window(image, np.array(box), 32).pixels == 7).all()
