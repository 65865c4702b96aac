"""How far an answer can be trusted: rates by the quality of the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faceflow.calibration.choice import Judgement
from faceflow.calibration.evidence import Evidence
from faceflow.calibration.material import Material
from faceflow.calibration.result import Rates, VisiblePart
from faceflow.calibration.searches import Searches
from faceflow.calibration.summing_up import rates
from faceflow.matching.covers import PatchModel
from faceflow.quality import BANDS, Quality

EDGES = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the parts that searches fall into by how much of the face is visible."""


def query_quality(
    material: Material, searches: Searches, model: PatchModel | None
) -> tuple[Quality, ...]:
    """The quality of every query, with its visible share where the covers are known."""
    known = {
        (photo.source_id, photo.condition): quality
        for photo, quality in zip(material.photos, material.quality, strict=True)
    }
    found = [known[photo.source_id, photo.condition] for photo in searches.queries]
    if model is None:
        return tuple(found)
    seen = model.see(searches.query_features).visibility
    assert seen is not None
    return tuple(
        replace(quality, visible=float(share))
        for quality, share in zip(found, seen.mean(axis=1), strict=True)
    )


def by_band(
    evidence: Evidence, judged: Judgement, quality: Sequence[Quality], *, threshold: bool
) -> tuple[tuple[str, Rates], ...]:
    """The rates of the searches of each band that there are."""
    bands = np.array([one.band for one in quality])
    return tuple(
        (band, rates(evidence, judged, bands == band, threshold=threshold))
        for band in BANDS
        if (bands == band).any()
    )


def by_visible(
    evidence: Evidence, judged: Judgement, quality: Sequence[Quality], *, threshold: bool
) -> tuple[VisiblePart, ...]:
    """The rates of searches of which about as much is visible; nothing where that is not known."""
    shares = [one.visible for one in quality if one.visible is not None]
    if not shares or len(shares) < len(quality):
        return ()
    part = np.clip(np.searchsorted(EDGES, shares, side="right") - 1, 0, len(EDGES) - 2)
    return tuple(
        VisiblePart(EDGES[n], EDGES[n + 1], rates(evidence, judged, part == n, threshold=threshold))
        for n in range(len(EDGES) - 1)
        if (part == n).any()
    )
