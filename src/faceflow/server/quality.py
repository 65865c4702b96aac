"""How good a face is for a search: the one place where its numbers and warnings are made."""

from __future__ import annotations

import cv2
import numpy as np

from faceflow.analyzer import Face
from faceflow.matching.covers import PatchModel
from faceflow.server.schemas import Quality

SMALL = 48.0
"""Pixels between a face's left and right side below which details are missing."""
COVERED = 0.35
"""Share of a face below which little is left to compare."""
UNSURE = 0.8
"""Detection scores below which the detector itself doubts."""


def quality_of(face: Face, model: PatchModel | None) -> Quality:
    """Numbers and warnings of one face.

    Args:
        face: from an analyzer.
        model: its network's patch model, which sees covers; None where there is none.
    """
    x0, _, x1, _ = (float(value) for value in face.box)
    shown: float | None = None
    cells: list[float] | None = None
    if model is not None:
        visibility = model.see(face.features).visibility
        assert visibility is not None
        cells = [round(float(value), 4) for value in visibility[0]]
        shown = round(float(visibility[0].mean()), 4)
    warnings = []
    if face.source == "whole-image":
        warnings.append("no face")
    elif face.score < UNSURE:
        warnings.append("unsure detection")
    if x1 - x0 < SMALL:
        warnings.append("too small")
    if shown is not None and shown < COVERED:
        warnings.append("mostly covered")
    return Quality(
        visible_share=shown,
        cells=cells,
        width=round(x1 - x0, 1),
        sharpness=_sharpness(face),
        pose=None,
        embedding_length=None,
        warnings=warnings,
    )


def _sharpness(face: Face) -> float:
    """Variance of the Laplacian of the aligned crop's grey values: low where it is blurred."""
    grey = cv2.cvtColor(np.ascontiguousarray(face.crop), cv2.COLOR_RGB2GRAY)
    return round(float(cv2.Laplacian(grey, cv2.CV_64F).var()), 2)
