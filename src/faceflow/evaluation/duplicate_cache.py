"""Near-duplicates kept on disk: comparing all photos with each other is not done twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from faceflow import __version__
from faceflow.datasets import LeftOut, Photo
from faceflow.errors import ImageError
from faceflow.evaluation.near_duplicates import (
    DuplicatePair,
    NearDuplicates,
    Progress,
    find_near_duplicates,
)
from faceflow.images import content_hash
from faceflow.weights.cache import atomic_write

_log = logging.getLogger(__name__)


def cached_near_duplicates(
    photos: Sequence[Photo], folder: Path, *, progress: Progress | None = None
) -> NearDuplicates:
    """As :func:`find_near_duplicates`, kept in ``folder`` by the photos' bytes and source ids.

    A kept answer that cannot be read is reported and made again.
    """
    path = folder / f"{_digest(photos)}.json"
    kept = _load(path, photos)
    if kept is not None:
        return kept
    found = find_near_duplicates(photos, progress=progress)
    place = {str(photo.path): n for n, photo in enumerate(photos)}
    value = {
        "pairs": [[pair.a, pair.b, pair.kind, pair.correlation] for pair in found.pairs],
        "unreadable": [[place[str(item.path)], item.why] for item in found.unreadable],
    }
    with atomic_write(path) as file:
        file.write(json.dumps(value).encode("ascii"))
    return found


def _digest(photos: Sequence[Photo]) -> str:
    """Everything the answer depends on; file names are not among it."""
    digest = hashlib.sha256(f"near-duplicates 1 {__version__}".encode())
    for photo in photos:
        try:
            content = content_hash(photo.image)
        except ImageError:
            content = "unreadable"
        # Hashed apart, so that no two lists meet in one run of bytes.
        line = json.dumps([photo.source_id, content])
        digest.update(hashlib.sha256(line.encode()).digest())
    return digest.hexdigest()


def _load(path: Path, photos: Sequence[Photo]) -> NearDuplicates | None:
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_bytes())
        pairs = tuple(DuplicatePair(a, b, kind, near) for a, b, kind, near in value["pairs"])
        unreadable = tuple(LeftOut(photos[n].path, why) for n, why in value["unreadable"])
        if any(not 0 <= n < len(photos) for pair in pairs for n in (pair.a, pair.b)):
            raise IndexError("a pair names a photo beyond the list")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        _log.warning("The near-duplicates kept in %s are found again: %s", path, error)
        return None
    return NearDuplicates(tuple(photos), pairs, unreadable)
