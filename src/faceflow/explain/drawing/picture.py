"""The flow picture: query, reconstruction and gallery face side by side, with what they mean.

Orientation as in the paper's appendix S3: cell i of the reconstruction belongs to *query*
patch i and shows the *gallery* patch that receives its largest flow.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from PIL import Image

from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.explain.drawing.colour import COSINE, EMD, INK, MUTED, RULE, VISIBLE
from faceflow.explain.drawing.panels import (
    blank_face,
    check_crop,
    draw_grid,
    face_size,
    place_map,
    rebuild,
    resize,
)
from faceflow.explain.drawing.rows import draw_heat, draw_lines
from faceflow.explain.drawing.sheet import Layout, Sheet
from faceflow.explain.explanation import Explanation
from faceflow.explain.words import NOT_PROOF, Caption, moved, notes_on, number, settings_line
from faceflow.features import Grid

Part = Literal["weights", "lines"]
PARTS: tuple[Part, ...] = ("weights", "lines")
WEIGHTS: tuple[Part, ...] = ("weights",)

MARGIN = 36.0
GAP = 30.0
FACE_HEIGHT, FACE_WIDTH = 240.0, 300.0  # a face is drawn as large as fits into this
LEAST_COLUMN = 190.0  # room for the words above and below a narrow face
TALLEST = 1500.0


def flow_picture(
    query_crop: UInt8,
    gallery_crop: UInt8 | None,
    explanation: Explanation,
    *,
    caption: Caption | None = None,
    parts: Collection[Part] = WEIGHTS,
    lines: int = 24,
    scale: float = 2.0,
    font: Path | None = None,
) -> Image.Image:
    """Draw which patches of a query were matched with which of a gallery face.

    Args:
        query_crop: (H, W, 3) uint8 RGB, aligned as the network saw it.
        gallery_crop: likewise, of any size (a thumbnail will do); None when no photo of the
            gallery face is kept: then its places are drawn in place of its patches.
        explanation: the numbers, from :func:`faceflow.explain.explain_pair`.
        caption: who the gallery face is and how it ranked.
        parts: what to draw below the flow: "weights" (heatmaps of the weights of both faces
            and of the contributions), "lines" (the strongest flows as lines), both or none.
        lines: how many flows "lines" shows.
        scale: pixels per layout unit; the picture is about 840 units wide.
        font: a TrueType file for all text. Pillow's own font is used otherwise, and for names
            it has no letters for, a wider one of this computer.

    Returns:
        An RGB image. The same input gives the same pixels; saved as PNG it carries no time.

    Raises:
        InputError: a crop is not (H, W, 3) uint8, or an option is out of range.
    """
    check_crop("query", query_crop)
    if gallery_crop is not None:
        check_crop("gallery", gallery_crop)
    if unknown := set(parts) - set(PARTS):
        raise InputError(
            f"the picture has no part {sorted(unknown)[0]!r}",
            todo=f"choose from {', '.join(PARTS)}",
        )
    if lines < 1:
        raise InputError(f"lines is {lines}", why="at least one flow must be shown")
    caption = caption or Caption()
    layout = _lay_out(query_crop, gallery_crop, explanation.grid, scale, font)
    y = _header(layout, caption, explanation)
    y = _flow(layout, y + 22, explanation, caption)
    if "weights" in parts:
        y = draw_heat(layout, y + 30, explanation)
    if "lines" in parts:
        y = draw_lines(layout, y + 30, explanation, lines)
    return layout.sheet.finish(_footer(layout.sheet, y + 26, explanation) + MARGIN - 8)


def _lay_out(
    query: UInt8, gallery: UInt8 | None, grid: Grid, scale: float, font: Path | None
) -> Layout:
    box = (FACE_HEIGHT * scale, FACE_WIDTH * scale)
    query_size = face_size(query.shape, grid, *box)
    # Without a photo its place is as large as the query's: both were aligned alike.
    gallery_size = query_size if gallery is None else face_size(gallery.shape, grid, *box)
    column = max(query_size[1] / scale, gallery_size[1] / scale, LEAST_COLUMN)
    left, middle, right = (MARGIN + k * (column + GAP) for k in range(3))
    return Layout(
        sheet=Sheet(right + column + MARGIN, TALLEST, scale, font),
        columns=(left, middle, right),
        column=column,
        query=resize(query, query_size),
        gallery=None if gallery is None else resize(gallery, gallery_size),
        gallery_size=gallery_size,
    )


def _header(layout: Layout, caption: Caption, explanation: Explanation) -> float:
    sheet = layout.sheet
    right = sheet.width - MARGIN
    sheet.write(right, MARGIN + 24, number(explanation.score), 28, anchor="rs")
    sheet.write(right, MARGIN + 46, "score", 13, fill=MUTED, anchor="rs")
    room = right - MARGIN - 110
    sheet.write(MARGIN, MARGIN + 24, caption.title, 28, width=room)
    if caption.subtitle:
        sheet.write(MARGIN, MARGIN + 46, caption.subtitle, 13, fill=MUTED, width=room)
    sheet.rule(MARGIN + 64, MARGIN, right)
    return MARGIN + 65


def _flow(layout: Layout, y: float, explanation: Explanation, caption: Caption) -> float:
    """The three faces of the flow picture; returns the y below their notes."""
    sheet, columns, grid = layout.sheet, layout.columns, explanation.grid
    kept = layout.gallery is not None
    titles = ("Query", "Rebuilt from the gallery face", "Gallery face")
    notes = ("The face as the network sees it.", *notes_on(caption, kept))
    size = (int(layout.query.shape[0]), int(layout.query.shape[1]))
    if layout.gallery is None:
        gallery = blank_face(layout.gallery_size)
        middle = place_map(explanation.best_match, explanation.brightness, grid, size)
    else:
        gallery = layout.gallery
        patches = resize(gallery, size)
        middle = Image.fromarray(
            rebuild(patches, explanation.best_match, explanation.brightness, grid)
        )
    top = y + 24
    faces = (Image.fromarray(layout.query), middle, Image.fromarray(gallery))
    for x, title, face in zip(columns, titles, faces, strict=True):
        sheet.write(x, y + 12, title, 14, width=layout.column)
        sheet.picture(x, top, draw_grid(face, grid, layout.line))
    if not kept:
        height, width = (side / sheet.scale for side in layout.gallery_size)
        x, across = columns[2] + width / 2, top + height / 2
        sheet.write(x, across, "no photo kept", 14, fill=MUTED, anchor="mm")
    y = top + layout.face_height + 4
    return max(
        sheet.paragraph(x, y, note, 12, layout.column)
        for x, note in zip(columns, notes, strict=True)
    )


def _footer(sheet: Sheet, y: float, explanation: Explanation) -> float:
    """How the score is made of its parts, the settings, and what it is not."""
    left, right = MARGIN, sheet.width - MARGIN
    sheet.rule(y, left, right)
    colours = {"emd": EMD, "visible_cosine": VISIBLE, "cosine": COSINE}
    y += 28
    x = left
    for term in explanation.terms:
        sheet.box(x, y - 10, 10, 10, colours[term.key])
        x += 16
        for words, ink in (
            (f"{term.name} {number(term.value)}", INK),
            (f" x {number(term.share, 2)} = {number(term.part)}", MUTED),
        ):
            sheet.write(x, y, words, 13, fill=ink)
            x += sheet.text.width(words, 13) + 4
        x += 22
    sheet.write(right, y, f"score {number(explanation.score)}", 13, anchor="rs")
    y += 12
    full = right - left
    sheet.box(left, y, full, 10, RULE)
    x = left
    for term in explanation.terms:
        width = min(max(term.part, 0.0) * full, right - x)
        sheet.box(x, y, width, 10, colours[term.key])
        x += width
    y += 18
    y = sheet.paragraph(left, y, f"{settings_line(explanation)} {moved(explanation)}", 12, full)
    return sheet.paragraph(left, y, NOT_PROOF, 12, full)
