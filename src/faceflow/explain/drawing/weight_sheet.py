"""What every weighting makes of the same faces, side by side (after the paper's figure S1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.explain.drawing.colour import MUTED, weight_colours
from faceflow.explain.drawing.panels import check_crop, face_size, resize, weight_heatmap
from faceflow.explain.drawing.sheet import Sheet
from faceflow.explain.words import percent
from faceflow.features import FaceFeatures
from faceflow.matching.weighting import WEIGHTINGS, weigh

_FACE = 104.0  # height of a face, in layout units
_GAP = 10.0
_TEXT = 11.0


@dataclass(frozen=True, slots=True, eq=False)
class WeightedPair:
    """Two faces whose weights are to be shown.

    Attributes:
        label: what the pair is called.
        query_crop, gallery_crop: (H, W, 3) uint8, aligned, of one size.
        query, gallery: their features, one face each, on one grid.
    """

    label: str
    query_crop: UInt8
    query: FaceFeatures
    gallery_crop: UInt8
    gallery: FaceFeatures


def weight_sheet(
    pairs: Sequence[WeightedPair],
    weightings: Sequence[str] | None = None,
    *,
    scale: float = 2.0,
    font: Path | None = None,
) -> Image.Image:
    """Draw the weights of both faces of each pair, one column per weighting.

    A pair is a block of two rows, the query above the gallery face. The two maps of a
    weighting share one scale, whose top (the lightest colour) is written below them.

    Args:
        pairs: at least one.
        weightings: names from :data:`faceflow.matching.weighting.WEIGHTINGS`; default all that
            these features can be weighed by, uniform left out. What was left out is said in the
            last line.
        scale: pixels per layout unit, 0.5 to 8.
        font: a TrueType font in place of Pillow's own.

    Raises:
        InputError: no pairs, no weighting left, crops of two sizes, faces of two grids, or a
            weighting asked for by name that does not fit the features.
    """
    if not pairs:
        raise InputError("there is no pair to draw weights of")
    for pair in pairs:
        check_crop("query", pair.query_crop)
        check_crop("gallery", pair.gallery_crop)
        shapes = {crop.shape for one in pairs for crop in (one.query_crop, one.gallery_crop)}
        if len(shapes) > 1 or pair.query.grid != pair.gallery.grid:
            raise InputError(
                f"the faces of {pair.label} differ in size or grid from the others",
                todo="align all to one template and analyze them with one network",
            )
    names, absent = _choose(pairs, weightings)
    crop, grid = pairs[0].query_crop, pairs[0].query.grid
    width = _FACE * crop.shape[1] / crop.shape[0] + _GAP
    full = (len(names) + 1) * width + _GAP
    block = 2 * _FACE + 2 * _GAP + 1.2 * _TEXT
    sheet = Sheet(full, len(pairs) * block + 5 * _TEXT + 2 * _GAP, scale, font)
    pixels = face_size(crop.shape, grid, _FACE * scale, width * scale)
    y = _GAP + _TEXT
    for column, name in enumerate(["photo", *names]):
        sheet.write(_GAP + column * width, y, name, _TEXT, width=width - _GAP)
    y += _GAP / 2
    for pair in pairs:
        faces = [resize(pair.query_crop, pixels), resize(pair.gallery_crop, pixels)]
        for row, face in enumerate(faces):
            sheet.picture(_GAP, y + row * (_FACE + _GAP / 2), Image.fromarray(face))
        below = y + 2 * _FACE + _GAP / 2 + 1.2 * _TEXT
        sheet.write(_GAP, below, pair.label, _TEXT, width=width - _GAP)
        for column, name in enumerate(names, start=1):
            weights = [w[0] for w in weigh(name, pair.query, pair.gallery)]
            top = float(max(w.max() for w in weights))
            x = _GAP + column * width
            for row, (face, w) in enumerate(zip(faces, weights, strict=True)):
                heat = weight_heatmap(face, w, grid, top=top)
                sheet.picture(x, y + row * (_FACE + _GAP / 2), heat)
            note = f"top {percent(top)}"
            sheet.write(x, below, note, 0.9 * _TEXT, fill=MUTED, width=width - _GAP)
        y += block
    ramp = weight_colours(np.linspace(0, 1, 256))
    sheet.scale_bar(_GAP, y, min(width, full / 3), 0.6 * _TEXT, ramp)
    words = f"weight of a patch, from 0 to the top that stands below it; query above.{absent}"
    y = sheet.paragraph(_GAP, y + 0.7 * _TEXT, words, 0.9 * _TEXT, full - 2 * _GAP)
    return sheet.finish(y + _GAP)


def _choose(
    pairs: Sequence[WeightedPair], weightings: Sequence[str] | None
) -> tuple[list[str], str]:
    """The weightings to draw, and the sentence on those that cannot be."""
    if weightings is not None:
        if not weightings:
            raise InputError("there is no weighting to draw")
        for name in weightings:
            for pair in pairs:
                weigh(name, pair.query, pair.gallery)
        return list(weightings), ""
    names, absent = [], []
    for name in WEIGHTINGS:
        try:
            for pair in pairs:
                weigh(name, pair.query, pair.gallery)
        except InputError:
            absent.append(name)
        else:
            names.append(name)
    absent_text = f" Not for these features: {', '.join(absent)}." if absent else ""
    return [name for name in names if name != "uniform"], absent_text
