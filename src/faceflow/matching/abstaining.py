"""No answer where a query gives too little to go by."""

from __future__ import annotations

from dataclasses import replace

from faceflow.analyzer import Face
from faceflow.matching.covers import PatchModel
from faceflow.matching.identification import Matches
from faceflow.quality import Band, Quality


def quality_of(face: Face, model: PatchModel | None) -> Quality:
    """A face's quality, with how much of it is visible where the network's covers are known."""
    if model is None:
        return face.quality
    shown = model.see(face.features).visibility
    assert shown is not None
    return replace(face.quality, visible=float(shown.mean()))


def abstain(matches: Matches, quality: Quality, least: Band) -> Matches:
    """The answer, or "unsure" in its place where the query is worse than ``least``.

    The people stay in their order for who wants to look, but nobody is named.

    Args:
        matches: from :func:`faceflow.matching.identification.identify`.
        quality: of the query.
        least: the worst band that is answered; with "poor" every query is.
    """
    if matches.status == "empty" or not quality.below(least):
        return matches
    return replace(matches, status="unsure")
