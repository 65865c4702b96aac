"""Which heatmaps say something about a pair, with their words; for pictures and pages alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from faceflow.arrays import Float64, UInt8
from faceflow.explain.drawing.colour import contribution_colours, weight_colours
from faceflow.explain.drawing.panels import blank_face, contribution_heatmap, weight_heatmap
from faceflow.explain.explanation import Explanation, even
from faceflow.explain.words import cell, number, percent

Side = Literal["query", "gallery"]
_STEPS = np.linspace(0, 1, 256)


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """One heatmap with what is written around it.

    Attributes:
        side: the face it lies on.
        title: what it shows.
        image: the heatmap, as large as the face.
        ramp: (256, 3) the legend's colours, from ``low`` to ``high``.
        low, high: the values at the legend's ends, in words.
        alt: the picture in words.
    """

    side: Side
    title: str
    image: Image.Image
    ramp: UInt8
    low: str
    high: str
    alt: str


def heat_row(
    query: UInt8, gallery: UInt8 | None, gallery_size: tuple[int, int], explanation: Explanation
) -> tuple[Heat, Heat | None, Heat]:
    """Three places: on the query, between, on the gallery face.

    Usually the weights of both faces, with the query's contributions between them. Where all
    weights are alike their maps would be plain: then both sides show contributions and
    nothing stands between them.

    Args:
        query: (H, W, 3) uint8, in the size it is drawn.
        gallery: likewise, or None without a photo.
        gallery_size: (height, width) of the gallery face as drawn.
        explanation: the numbers.
    """
    face = blank_face(gallery_size) if gallery is None else gallery
    # One scale for both faces, so that their colours can be compared.
    reach = float(
        max(
            np.abs(explanation.query_contributions).max(),
            np.abs(explanation.gallery_contributions).max(),
        )
    )
    if weights_alike(explanation):
        return (
            _contributions("query", query, explanation.query_contributions, explanation, reach),
            None,
            _contributions("gallery", face, explanation.gallery_contributions, explanation, reach),
        )
    top = float(max(explanation.u.max(), explanation.v.max()))
    own = float(np.abs(explanation.query_contributions).max())
    return (
        _weights("query", query, explanation.u, explanation, top),
        _contributions("query", query, explanation.query_contributions, explanation, own),
        _weights("gallery", face, explanation.v, explanation, top),
    )


def weights_alike(explanation: Explanation) -> bool:
    """Whether every patch of either face has the same weight."""
    return even(explanation.u) and even(explanation.v)


def heat_note(explanation: Explanation) -> str:
    """What the cells add up to, and the weight of each where all are alike."""
    total = number(explanation.emd)
    if weights_alike(explanation):
        return (
            f"All patches of a face weigh the same, {percent(float(explanation.u.max()))} each. "
            "A patch adds more the better it resembles the patches it was matched with. All "
            f"cells of a face together: {total}, the EMD similarity."
        )
    return f"All cells together: {total}, the EMD similarity."


def _weights(
    side: Side, face: UInt8, weights: Float64, explanation: Explanation, top: float
) -> Heat:
    where = cell(int(np.argmax(weights)), explanation.grid)
    return Heat(
        side=side,
        title=f"Weight of each {side} patch",
        image=weight_heatmap(face, weights, explanation.grid, top=top),
        ramp=weight_colours(_STEPS),
        low="0",
        high=f"{percent(top)} of the face",
        alt=f"Heatmap of the weight of each {side} patch, largest in {where}",
    )


def _contributions(
    side: Side, face: UInt8, parts: Float64, explanation: Explanation, reach: float
) -> Heat:
    where = cell(int(np.argmax(parts)), explanation.grid)
    signed = number(float(parts.min())).startswith("-")
    return Heat(
        side=side,
        title=f"What each {side} patch added",
        image=contribution_heatmap(face, parts, explanation.grid, top=reach),
        ramp=contribution_colours(2 * _STEPS - 1 if signed else _STEPS),
        low=number(-reach) if signed else "0",
        high=f"{number(reach)} of similarity",
        alt=f"Heatmap of what each {side} patch added to the EMD similarity, most in {where}",
    )
