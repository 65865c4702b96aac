"""How good a face is for a search, as it is sent; :mod:`faceflow.quality` measures it."""

from __future__ import annotations

from dataclasses import replace

from faceflow.analyzer import Face
from faceflow.matching.covers import PatchModel
from faceflow.server import schemas

_REASONS = {
    "visible": "mostly covered",
    "size": "too small",
    "sharpness": "blurred",
    "yaw": "extreme pose",
    "detection": "unsure detection",
}
"""What a measure in the worst band is called where photos are refused."""


def quality_of(face: Face, model: PatchModel | None) -> schemas.Quality:
    """Numbers and warnings of one face.

    Args:
        face: from an analyzer.
        model: its network's patch model, which sees covers; None where there is none.
    """
    features = face.features if model is None else model.see(face.features)
    found = replace(face, features=features).quality
    cells = features.visibility
    warnings = [_REASONS[name] for name, band in found.bands.items() if band == "poor"]
    return schemas.Quality(
        visible_share=found.visible,
        cells=None if cells is None else [round(float(value), 4) for value in cells[0]],
        width=float(face.box[2] - face.box[0]),
        sharpness=found.sharpness,
        pose=None if found.yaw is None else {"yaw": found.yaw},
        embedding_length=found.length,
        band=found.band,
        flaws=list(found.flaws),
        warnings=["no face", *warnings] if face.source == "whole-image" else warnings,
    )
