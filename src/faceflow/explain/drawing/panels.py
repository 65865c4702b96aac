"""Single pictures on a patch grid: the reconstruction and the heatmaps, without any text."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from faceflow.arrays import Float64, Floats, Int64, UInt8
from faceflow.errors import InputError
from faceflow.explain.drawing.colour import BLANK, contribution_colours, weight_colours
from faceflow.features import Grid

# The weakest cell keeps this share of its light: black would hide what was matched there.
DIMMEST = 0.12
# Pixel values are dimmed by brightness to this power. A few strong flows push most cells far
# below 1 (equation 10 is a plain stretch); this keeps those readable and changes no order.
DIMMING = 0.7
# How strongly the face shows through a heatmap. Only its detail does: each cell keeps, on
# average, the exact colour of its value, so that it can be compared with the legend.
DETAIL = 0.45
GRID_LINE = 0.22


def rebuild(gallery_crop: UInt8, best_match: Int64, brightness: Float64, grid: Grid) -> UInt8:
    """The query rebuilt from the gallery face (paper appendix S3, equation 10).

    Cell i shows the gallery's cell ``best_match[i]``, its pixel values multiplied by
    ``DIMMEST + (1 - DIMMEST) * brightness[i] ** DIMMING``. A cell without a match (-1) is
    grey (128), dimmed likewise.

    Args:
        gallery_crop: (H, W, 3) uint8. Where the grid does not divide a side, the crop is
            first enlarged to the next size it divides.
        best_match: (R,) gallery patch of each query patch, or -1.
        brightness: (R,) in [0, 1].
        grid: (h, w), R = h * w.

    Returns:
        (H, W, 3) uint8, sides multiples of the grid's.
    """
    check_crop("gallery", gallery_crop)
    h, w = grid
    size = tuple(-(-side // n) * n for side, n in zip(gallery_crop.shape[:2], grid, strict=True))
    crop = resize(gallery_crop, (size[0], size[1]))
    cells = crop.reshape(h, size[0] // h, w, size[1] // w, 3).swapaxes(1, 2)
    cells = cells.reshape(h * w, *cells.shape[2:])
    light = _light(brightness)[:, None, None, None]
    shown = np.where(best_match[:, None, None, None] >= 0, cells[best_match], 128)
    lit = np.rint(shown * light).astype(np.uint8)
    return lit.reshape(h, w, *lit.shape[1:]).swapaxes(1, 2).reshape(*size, 3)


def place_map(
    best_match: Int64, brightness: Float64, grid: Grid, size: tuple[int, int]
) -> Image.Image:
    """The reconstruction where no photo of the gallery face is kept: places, not patches.

    Each cell stands for the whole gallery face; its dot marks the place that query patch i's
    largest flow goes to. Cells are lit by brightness as in :func:`rebuild`.

    Args:
        best_match: (R,) gallery patch of each query patch, or -1.
        brightness: (R,) in [0, 1].
        grid: (h, w).
        size: (height, width) in pixels.
    """
    (height, width), (h, w) = size, grid
    level = np.rint(30 + 130 * _light(brightness)).astype(np.uint8).reshape(grid)
    smooth = 4  # Pillow's circles are jagged: drawn larger and shrunk
    tall, wide = height * smooth, width * smooth
    rows, columns = np.arange(tall) * h // tall, np.arange(wide) * w // wide
    image = Image.fromarray(level[rows][:, columns])
    pen = ImageDraw.Draw(image)
    cell_h, cell_w = tall / h, wide / w
    radius = 0.1 * min(cell_h, cell_w)
    for i, match in enumerate(best_match):
        if match >= 0:
            y = (i // w + 0.5) * cell_h + 0.75 * cell_h * ((match // w + 0.5) / h - 0.5)
            x = (i % w + 0.5) * cell_w + 0.75 * cell_w * ((match % w + 0.5) / w - 0.5)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return image.resize((width, height), Image.Resampling.BOX).convert("RGB")


def weight_heatmap(
    crop: UInt8 | None, weights: Floats, grid: Grid, *, top: float | None = None
) -> Image.Image:
    """Weights over a face: indigo for nothing, yellow for the largest.

    Args:
        crop: (H, W, 3) uint8, or None for a plain map.
        weights: (R,) not negative.
        grid: (h, w) with R = h * w.
        top: the weight shown as the lightest colour; default the largest. Give both faces
            of a pair the same to make them comparable.
    """
    shares = _on_grid("weights", weights, grid)
    highest = float(shares.max()) if top is None else top
    return _heatmap(crop, weight_colours(shares / highest if highest > 0 else shares))


def contribution_heatmap(
    crop: UInt8 | None, contributions: Floats, grid: Grid, *, top: float | None = None
) -> Image.Image:
    """Contributions over a face: blue adds to the similarity, orange takes from it.

    Args as for :func:`weight_heatmap`; ``top`` is the size of a contribution that is shown in
    the deepest colour, default the largest on either side of zero.
    """
    parts = _on_grid("contributions", contributions, grid)
    highest = float(np.abs(parts).max()) if top is None else top
    return _heatmap(crop, contribution_colours(parts / highest if highest > 0 else parts))


def draw_grid(image: Image.Image, grid: Grid, width: int = 1) -> Image.Image:
    """The image with the cells' borders drawn as thin pale lines."""
    pixels = np.asarray(image, dtype=np.float64)
    (height, across), (h, w) = pixels.shape[:2], grid
    line = np.zeros((height, across, 1), dtype=bool)
    for k in range(1, h):
        start = round(k * height / h) - width // 2
        line[start : start + width] = True
    for k in range(1, w):
        start = round(k * across / w) - width // 2
        line[:, start : start + width] = True
    mixed = np.where(line, pixels * (1 - GRID_LINE) + 255 * GRID_LINE, pixels)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def resize(crop: UInt8, size: tuple[int, int]) -> UInt8:
    """A crop brought to (height, width); unchanged when it has that size."""
    if crop.shape[:2] == size:
        return crop
    image = Image.fromarray(np.ascontiguousarray(crop))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.LANCZOS))


def blank_face(size: tuple[int, int]) -> UInt8:
    """(height, width, 3) plain paper in place of a photo that is not kept."""
    return np.full((*size, 3), BLANK, dtype=np.uint8)


def face_size(shape: tuple[int, ...], grid: Grid, height: float, width: float) -> tuple[int, int]:
    """(height, width) in pixels: whole cells, as large as fits, the crop's own proportions."""
    factor = min(height / shape[0], width / shape[1])
    sides = (max(1, round(shape[k] * factor / grid[k])) * grid[k] for k in (0, 1))
    return next(sides), next(sides)


def check_crop(name: str, crop: UInt8) -> None:
    """Raise :class:`InputError` unless the crop is (H, W, 3) uint8 with pixels."""
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or not crop.size:
        raise InputError(
            f"the {name} crop has shape {crop.shape} and type {crop.dtype}",
            why="(H, W, 3) uint8 is needed",
        )


def _light(brightness: Float64) -> Float64:
    powered = np.asarray(brightness, dtype=np.float64) ** DIMMING
    return np.asarray(DIMMEST + (1 - DIMMEST) * powered, dtype=np.float64)


def _on_grid(name: str, values: Floats, grid: Grid) -> Float64:
    wide = np.asarray(values, dtype=np.float64)
    if wide.shape != (grid[0] * grid[1],):
        raise InputError(
            f"{name} have shape {wide.shape}", why=f"a {grid[0]}x{grid[1]} grid has one per cell"
        )
    return wide.reshape(grid)


def _heatmap(crop: UInt8 | None, colours: UInt8) -> Image.Image:
    """Spread one colour per cell over the crop, whose detail shows through in grey."""
    if crop is None:
        crop = np.full((128, 128, 3), 128, dtype=np.uint8)
    check_crop("face", crop)
    (height, width), (h, w) = crop.shape[:2], colours.shape[:2]
    row, column = np.arange(height) * h // height, np.arange(width) * w // width
    cell = row[:, None] * w + column
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(crop)).convert("L"), dtype=np.float64)
    size = np.bincount(cell.ravel(), minlength=h * w)
    mean = np.bincount(cell.ravel(), grey.ravel(), minlength=h * w) / np.maximum(size, 1)
    detail = DETAIL * (grey - mean[cell])
    mixed = np.clip(colours[row][:, column] + detail[:, :, None], 0, 255)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))
