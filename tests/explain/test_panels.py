from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.explain import contribution_heatmap, rebuild, weight_heatmap
from faceflow.explain.drawing.colour import contribution_colours, weight_colours
from faceflow.explain.drawing.panels import DIMMEST, DIMMING, draw_grid, face_size, place_map
from faceflow.features import Grid

Coloured = Callable[..., UInt8]


@pytest.mark.parametrize("grid", [(8, 8), (7, 6), (4, 4), (3, 3)])
def test_rebuild_pixel_by_pixel(grid: Grid) -> None:
    h, w = grid
    rng = np.random.default_rng(1)
    gallery = rng.integers(0, 256, (h * 5, w * 3, 3), dtype=np.uint8)
    order = rng.permutation(h * w)
    bright = rng.random(h * w)
    got = rebuild(gallery, order, bright, grid)
    assert got.shape == gallery.shape
    for y in range(h * 5):
        for x in range(w * 3):
            i = (y // 5) * w + x // 3
            row, column = divmod(int(order[i]), w)
            pixel = gallery[row * 5 + y % 5, column * 3 + x % 3]
            light = DIMMEST + (1 - DIMMEST) * bright[i] ** DIMMING
            assert got[y, x].tolist() == np.rint(pixel * light).astype(np.uint8).tolist()


def test_rebuild_of_a_face_in_place_is_that_face(coloured: Coloured) -> None:
    crop = coloured((7, 6))
    assert np.array_equal(rebuild(crop, np.arange(42), np.ones(42), (7, 6)), crop)


def test_rebuild_cells_without_a_match_are_grey(coloured: Coloured) -> None:
    match = np.array([3, -1, 1, 0])
    got = rebuild(coloured((2, 2)), match, np.array([1.0, 1.0, 1.0, 0.0]), (2, 2))
    assert got[0, 0].tolist() == [43, 197, 9]
    assert got[0, 8].tolist() == [128, 128, 128]
    assert got[8, 0].tolist() == [41, 199, 3]
    assert got[8, 8].tolist() == [round(40 * DIMMEST), round(200 * DIMMEST), 0]


@pytest.mark.parametrize("shape", [(96, 96), (101, 57), (5, 5), (1, 1)])
def test_rebuild_takes_any_size(shape: tuple[int, int]) -> None:
    crop = np.full((*shape, 3), 90, dtype=np.uint8)
    got = rebuild(crop, np.arange(42)[::-1], np.ones(42), (7, 6))
    assert got.shape == (-(-shape[0] // 7) * 7, -(-shape[1] // 6) * 6, 3)
    assert (got == 90).all()


@pytest.mark.parametrize("side", [64, 61])
def test_heatmap_cells_have_on_average_their_legends_colour(side: int) -> None:
    """A grey face under the colours adds detail, but no cell changes its mean."""
    grid, h = (4, 4), np.arange(side) * 4 // side
    crop = np.random.default_rng(0).integers(90, 130, (side, side, 3), dtype=np.uint8)
    weights = np.linspace(0.2, 0.8, 16)
    image = np.asarray(weight_heatmap(crop, weights, grid, top=1.0), dtype=np.float64)
    for i in range(16):
        cell = image[h == i // 4][:, h == i % 4]
        expected = weight_colours(weights[i : i + 1])[0]
        inside = (expected > 20) & (expected < 235)
        assert cell.mean(axis=(0, 1))[inside] == pytest.approx(expected[inside], abs=1)
        assert cell.std() > 1


def test_heatmaps_scale_to_their_largest_value() -> None:
    plain = np.full((2, 2, 3), 128, dtype=np.uint8)
    got = np.asarray(weight_heatmap(plain, np.array([0, 0.1, 0.2, 0.4]), (2, 2)))
    assert np.array_equal(got.reshape(4, 3), weight_colours(np.array([0, 0.25, 0.5, 1])))
    got = np.asarray(contribution_heatmap(plain, np.array([0, -0.1, 0.2, 0.4]), (2, 2)))
    assert np.array_equal(got.reshape(4, 3), contribution_colours(np.array([0, -0.25, 0.5, 1])))
    assert weight_heatmap(None, np.zeros(4), (2, 2)).size == (128, 128)


def test_place_map_puts_dots_where_flows_go() -> None:
    # Cell 0 points to the lower right corner, cell 3 to the upper left one; 1 and 2 to nothing.
    image = place_map(np.array([3, -1, -1, 0]), np.zeros(4), (2, 2), (80, 80))
    white = np.argwhere(np.asarray(image)[:, :, 0] == 255)
    first, second = white[white[:, 0] < 40], white[white[:, 0] >= 40]
    assert first.mean(axis=0) == pytest.approx([27.5, 27.5], abs=1)
    assert second.mean(axis=0) == pytest.approx([52.5, 52.5], abs=1)


def test_grid_lines_lie_between_the_cells() -> None:
    black = Image.new("RGB", (60, 70))
    lines = np.asarray(draw_grid(black, (7, 6)))[:, :, 0]
    assert np.flatnonzero(lines[5]).tolist() == [10, 20, 30, 40, 50]
    assert np.flatnonzero(lines[:, 5]).tolist() == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize(
    ("shape", "grid", "expected"),
    [
        ((128, 128), (8, 8), (240, 240)),
        ((112, 96), (7, 6), (238, 204)),
        ((10, 1000), (8, 8), (8, 304)),
    ],
)
def test_faces_are_drawn_in_whole_cells(
    shape: tuple[int, int], grid: Grid, expected: tuple[int, int]
) -> None:
    assert face_size(shape, grid, 240, 300) == expected


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((8, 8), dtype=np.uint8),
        np.zeros((8, 8, 4), dtype=np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((0, 8, 3), dtype=np.uint8),
    ],
    ids=["grey", "rgba", "floats", "empty"],
)
def test_wrong_crops(crop: UInt8) -> None:
    with pytest.raises(InputError, match="crop has shape"):
        rebuild(crop, np.arange(4), np.ones(4), (2, 2))
    with pytest.raises(InputError, match="crop has shape"):
        weight_heatmap(crop, np.ones(4), (2, 2))


def test_wrong_count_of_values() -> None:
    with pytest.raises(InputError, match="one per cell"):
        weight_heatmap(None, np.ones(5), (2, 2))
    with pytest.raises(InputError, match="one per cell"):
        contribution_heatmap(None, np.ones((2, 2)), (2, 2))
