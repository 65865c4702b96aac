"""Contact sheets: many pictures in one, with labels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceflow.arrays import UInt8
from faceflow.errors import InputError

_MARGIN = 4


def contact_sheet(
    images: Sequence[UInt8],
    columns: int,
    labels: Sequence[str] = (),
    *,
    cell: int = 160,
) -> UInt8:
    """Lay pictures out in a grid, row by row.

    Args:
        images: (H, W, 3) uint8 RGB each, of any sizes; each is fitted into a square cell.
        columns: pictures per row.
        labels: a line of text under each picture; none, or one per picture.
        cell: side of a cell in pixels.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: no pictures, fewer than one column, or labels that do not match.
    """
    if not images or columns < 1 or cell < 8:
        raise InputError(
            f"cannot lay out {len(images)} pictures in {columns} columns of {cell} pixels",
            why="one picture, one column and 8 pixels are the least",
        )
    if labels and len(labels) != len(images):
        raise InputError(f"{len(labels)} labels for {len(images)} pictures")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    text = 14 if labels else 0
    step_x, step_y = cell + _MARGIN, cell + text + _MARGIN
    sheet = np.full((rows * step_y + _MARGIN, columns * step_x + _MARGIN, 3), 250, np.uint8)
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        scale = cell / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(np.ascontiguousarray(image), size, interpolation=how)
        x = _MARGIN + index % columns * step_x + (cell - size[0]) // 2
        y = _MARGIN + index // columns * step_y + (cell - size[1]) // 2
        sheet[y : y + size[1], x : x + size[0]] = small
    if not labels:
        return sheet
    page = Image.fromarray(sheet)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for index, label in enumerate(labels):
        x = _MARGIN + index % columns * step_x
        y = _MARGIN + index // columns * step_y + cell
        shown = label
        while shown and pen.textlength(shown, font=font) > cell:
            shown = shown[:-2] + "…" if len(shown) > 2 else ""
        pen.text((x + cell / 2, y + 1), shown, fill=(30, 30, 30), font=font, anchor="ma")
    return np.asarray(page, dtype=np.uint8)
