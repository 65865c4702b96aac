"""A calibration in its gallery: kept, shown, forgotten."""

from __future__ import annotations

from typing import Any

from faceflow.calibration.result import CalibrationResult
from faceflow.errors import GalleryMismatchError
from faceflow.gallery import Gallery
from faceflow.networks import current_names

# What identify reads, and how it was made.
_MATCH, _RECORD = "match", "calibration"


def remember(gallery: Gallery, result: CalibrationResult) -> None:
    """Keep a result, in place of any before, in one transaction.

    Raises:
        GalleryMismatchError: it was made for another network.
        GalleryError: the gallery cannot be written.
    """
    if result.origin.digest != gallery.header.digest:
        raise GalleryMismatchError(
            f"the calibration is for {result.origin.network} (digest {result.origin.digest[:12]}), "
            f"the gallery holds features of {gallery.header.describe()}",
            todo="calibrate with the gallery's own network",
        )
    gallery.update_settings({_MATCH: result.calibration.as_json(), _RECORD: result.record()})


def recall(gallery: Gallery) -> dict[str, Any] | None:
    """The record of the gallery's calibration (:meth:`CalibrationResult.record`), or None."""
    record = gallery.settings.get(_RECORD)
    return _renamed(record) if isinstance(record, dict) else None


def forget(gallery: Gallery) -> bool:
    """Drop the calibration; ``identify`` goes back to the network's defaults.

    Returns:
        Whether there was one.
    """
    known = bool({_MATCH, _RECORD} & gallery.settings.keys())
    gallery.update_settings({_MATCH: None, _RECORD: None})
    return known


def _renamed(value: Any) -> Any:
    """The record with its settings under the names of today, wherever they stand in it."""
    if isinstance(value, list):
        return [_renamed(one) for one in value]
    if isinstance(value, dict):
        inner = {name: _renamed(one) for name, one in value.items()}
        return current_names(inner) if "weighting" in inner else inner
    return value
