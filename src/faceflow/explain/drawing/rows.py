"""The optional rows of the flow picture: heatmaps, and the strongest flows as lines."""

from __future__ import annotations

import numpy as np
from PIL import Image

from faceflow.arrays import Float64, Floats, UInt8
from faceflow.explain.drawing.colour import FAR, MUTED, NEAR
from faceflow.explain.drawing.heat import heat_note, heat_row
from faceflow.explain.drawing.panels import blank_face, draw_grid
from faceflow.explain.drawing.sheet import Layout, cell_centres
from faceflow.explain.explanation import Explanation, nearby
from faceflow.explain.words import flows_title, percent
from faceflow.features import Grid

BEZIER_STEPS = 40
THINNEST, THICKEST = 0.7, 2.1
DOT = 2.3
# Lines start staggered within this share of a cell: flows that stay in place are level, and
# those of one row would hide each other.
STAGGER = 0.78


def draw_heat(layout: Layout, y: float, explanation: Explanation) -> float:
    """Weights and contributions over both faces; returns the y below."""
    sheet, grid = layout.sheet, explanation.grid
    row = heat_row(layout.query, layout.gallery, layout.gallery_size, explanation)
    top = y + 24
    below = top + layout.face_height + 10
    for x, heat in zip(layout.columns, row, strict=True):
        if heat is None:
            note, size = heat_note(explanation), 13
            tall = sheet.text_height(note, size, layout.column)
            middle = top + (layout.face_height - tall) / 2
            sheet.paragraph(x, middle, note, size, layout.column)
            continue
        sheet.write(x, y + 12, heat.title, 14, width=layout.column)
        sheet.picture(x, top, draw_grid(heat.image, grid, layout.line))
        sheet.scale_bar(x, below, heat.image.width / sheet.scale, 6, heat.ramp)
        right = x + heat.image.width / sheet.scale
        sheet.write(x, below + 20, heat.low, 12, fill=MUTED)
        sheet.write(right, below + 20, heat.high, 12, fill=MUTED, anchor="rs")
    if row[1] is None:
        return below + 24
    return sheet.paragraph(layout.columns[1], below + 24, heat_note(explanation), 12, layout.column)


def draw_lines(layout: Layout, y: float, explanation: Explanation, count: int) -> float:
    """The strongest flows as lines from query cells to gallery cells; returns the y below."""
    sheet, grid, columns = layout.sheet, explanation.grid, layout.columns
    chosen = strongest(explanation.flow, count)
    sheet.write(columns[0], y + 12, flows_title(len(chosen)), 14)
    top = y + 24
    face = blank_face(layout.gallery_size) if layout.gallery is None else layout.gallery
    for x, crop in ((columns[0], layout.query), (columns[2], face)):
        sheet.picture(x, top, draw_grid(_faded(crop), grid, layout.line))
    starts = _ends(grid, layout.query.shape, sheet.scale, columns[0], top)
    stops = _ends(grid, layout.gallery_size, sheet.scale, columns[2], top)
    near = nearby(grid)
    heaviest = float(explanation.flow.max())
    for i, j in reversed(chosen):
        part = float(explanation.flow[i, j]) / heaviest
        width = THINNEST + (THICKEST - THINNEST) * part
        sheet.curve(_bezier(starts[i], stops[j]), width, NEAR if near[i, j] else FAR)
    for i, j in chosen:
        colour = NEAR if near[i, j] else FAR
        sheet.dot(*starts[i], DOT, colour)
        sheet.dot(*stops[j], DOT, colour)
    below = top + layout.face_height + 18
    x = columns[0]
    for here, colour, words in (
        (True, NEAR, "to the same place of the face or right beside it"),
        (False, FAR, "to another place"),
    ):
        if any(bool(near[i, j]) is here for i, j in chosen):
            sheet.box(x, below - 5, 18, 2, colour)
            sheet.write(x + 24, below, words, 12, fill=MUTED)
            x += 24 + sheet.text.width(words, 12) + 24
    together = sum(float(explanation.flow[i, j]) for i, j in chosen)
    total = f"together {percent(together)} of the weight"
    right = columns[2] + layout.gallery_size[1] / sheet.scale
    sheet.write(right, below, total, 12, fill=MUTED, anchor="rs")
    return below + 2


def strongest(flow: Floats, count: int) -> list[tuple[int, int]]:
    """The (query, gallery) cells of the largest flows, largest first; flows of 0 left out."""
    order = np.argsort(-flow, axis=None, kind="stable")[:count]
    pairs = [divmod(int(k), flow.shape[1]) for k in order]
    return [(i, j) for i, j in pairs if flow[i, j] > 0]


def _faded(crop: UInt8) -> Image.Image:
    """The face in pale grey, so that lines stand out on it."""
    grey = Image.fromarray(crop).convert("L").convert("RGB")
    return Image.blend(grey, Image.new("RGB", grey.size, (255, 255, 255)), 0.35)


def _ends(
    grid: Grid, shape: tuple[int, ...], scale: float, x: float, y: float
) -> list[tuple[float, float]]:
    """Where the lines of each cell begin or end on a face at (x, y)."""
    height, width = shape[0] / scale, shape[1] / scale
    h, w = grid
    return [
        (x + cx, y + cy + STAGGER * (height / h) * ((r % w + 0.5) / w - 0.5))
        for r, (cx, cy) in enumerate(cell_centres(grid, width, height))
    ]


def _bezier(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """An S-shaped curve that leaves and arrives level."""
    t = np.linspace(0, 1, BEZIER_STEPS)
    bend = (end[0] - start[0]) / 2
    x = _cubic(t, start[0], start[0] + bend, end[0] - bend, end[0])
    y = _cubic(t, start[1], start[1], end[1], end[1])
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def _cubic(t: Float64, a: float, b: float, c: float, d: float) -> Float64:
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
