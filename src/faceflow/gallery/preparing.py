"""From what a caller hands in to what a store keeps: checks, codes and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.gallery.codec import PatchCodec
from faceflow.gallery.identity import GalleryHeader, require_features
from faceflow.gallery.person_names import person_name
from faceflow.gallery.records import Box, Enrolment, FaceRecord, LandmarkCells
from faceflow.gallery.search import require_unit
from faceflow.gallery.sources import checked_hash, source_label
from faceflow.gallery.stores.store import StoredFace


def prepare(
    items: Sequence[Enrolment], name: str, header: GalleryHeader, codec: PatchCodec
) -> list[StoredFace]:
    """Faces ready for the store, or the first thing that is wrong with them.

    Args:
        items: at least one.
        name: the gallery's name, for messages.
        header: what the gallery was made for.
        codec: its codec.

    Raises:
        InputError: a name, hash, box, score, crop or embedding that cannot be kept.
        GalleryMismatchError: features of another network or alignment.
    """
    for item in items:
        require_features(name, header, item.features)
        if len(item.features) != 1:
            raise InputError(
                f"an enrolment holds {len(item.features)} faces", why="it needs exactly 1"
            )
    # Built anew, which looks for NaN again: arrays may have been changed since.
    features = FaceFeatures.concatenate([item.features for item in items])
    require_unit("embedding", features.embedding)
    now = datetime.now(UTC)
    return [
        StoredFace(
            _record(item, now),
            features.embedding[i],
            payload,
            _picture(item) if header.thumbnails else None,
        )
        for i, (item, payload) in enumerate(zip(items, codec.encode(features), strict=True))
    ]


def _picture(item: Enrolment) -> bytes | None:
    if item.crop is None:
        return None
    # Pillow is needed here alone.
    from faceflow.gallery.thumbnail import thumbnail

    return thumbnail(item.crop)


def _record(item: Enrolment, now: datetime) -> FaceRecord:
    return checked_record(
        face_id=0,
        person=item.person,
        source=item.source,
        content_hash=item.content_hash,
        box=item.box,
        score=item.score,
        created=now,
        landmarks=_landmark_cells(item.features),
        cells=item.features.patches.shape[1],
    )


def _landmark_cells(features: FaceFeatures) -> LandmarkCells | None:
    if features.landmark_share is None:
        return None
    share = features.landmark_share[0]
    return tuple((int(cell), float(share[cell])) for cell in np.flatnonzero(share))


def checked_record(
    *,
    face_id: int,
    person: str,
    source: str,
    content_hash: Any,
    box: Any,
    score: Any,
    created: datetime,
    landmarks: Any = None,
    cells: int,
) -> FaceRecord:
    """A record whose every field can be kept, or InputError; ``cells`` is R."""
    return FaceRecord(
        face_id=face_id,
        person=person_name(person),
        source=source_label(source),
        content_hash=checked_hash(content_hash),
        box=_box(box),
        score=_finite("score", score),
        created=created,
        landmarks=_landmarks(landmarks, cells),
    )


def _landmarks(values: Any, cells: int) -> LandmarkCells | None:
    """(cell, share) pairs: cells ascending and on the grid, shares positive with sum 1."""
    if values is None:
        return None
    pairs = tuple((int(cell), _finite("landmark share", share)) for cell, share in values)
    found = [cell for cell, _ in pairs]
    total = sum(share for _, share in pairs)
    if found != sorted({c for c in found if 0 <= c < cells}) or (pairs and abs(total - 1) > 1e-3):
        raise InputError(
            f"landmarks are {values}", why=f"(cell, share) on {cells} cells with sum 1 are needed"
        )
    if any(share <= 0 for _, share in pairs):
        raise InputError(f"landmarks are {values}", why="a share must be positive")
    return pairs


def _box(box: Any) -> Box | None:
    if box is None:
        return None
    values = [_finite("box", value) for value in np.asarray(box, dtype=np.float64).ravel()]
    if len(values) != 4 or values[0] >= values[2] or values[1] >= values[3]:
        raise InputError(f"box is {values}", why="x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return values[0], values[1], values[2], values[3]


def _finite(name: str, value: Any) -> float:
    number = float(value)
    if not np.isfinite(number):
        raise InputError(f"{name} is {number}", why="it must be a finite number")
    return number
