"""Near-duplicates kept on disk: comparing all photos with each other is not done twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from faceflow.errors import ImageError
from faceflow.evaluation.data import LeftOut, Photo, near_duplicates
from faceflow.evaluation.data.near_duplicates import (
    DuplicatePair,
    NearDuplicates,
    Progress,
    find_near_duplicates,
)
from faceflow.faces import images
from faceflow.faces.images import content_hash
from faceflow.system.caches import KeyedFolder, new_key


def cached_near_duplicates(
    photos: Sequence[Photo], folder: Path, *, progress: Progress | None = None
) -> NearDuplicates:
    """As :func:`find_near_duplicates`, kept in ``folder`` by the photos' bytes and source ids.

    A kept answer that cannot be read is reported and made again.
    """
    key = _digest(photos)
    answers = KeyedFolder(folder, ".json", lambda file: _read(file, photos), _write)
    kept = answers.load(key)
    if kept is not None:
        return kept
    found = find_near_duplicates(photos, progress=progress)
    answers.save(key, found)
    return found


def _digest(photos: Sequence[Photo]) -> str:
    """Everything the answer depends on; file names are not among it."""
    digest = new_key("near-duplicates 1", near_duplicates, images)
    for photo in photos:
        try:
            content = content_hash(photo.image)
        except ImageError:
            content = "unreadable"
        # Hashed apart, so that no two lists meet in one run of bytes.
        line = json.dumps([photo.source_id, content])
        digest.update(hashlib.sha256(line.encode()).digest())
    return str(digest.hexdigest())


def _write(file: BinaryIO, found: NearDuplicates) -> None:
    place = {str(photo.path): n for n, photo in enumerate(found.photos)}
    value = {
        "pairs": [[pair.a, pair.b, pair.kind, pair.correlation] for pair in found.pairs],
        "unreadable": [[place[str(item.path)], item.why] for item in found.unreadable],
    }
    file.write(json.dumps(value).encode("ascii"))


def _read(file: BinaryIO, photos: Sequence[Photo]) -> NearDuplicates:
    value: Any = json.load(file)
    pairs = tuple(DuplicatePair(a, b, kind, near) for a, b, kind, near in value["pairs"])
    unreadable = tuple(LeftOut(photos[n].path, why) for n, why in value["unreadable"])
    if any(not 0 <= n < len(photos) for pair in pairs for n in (pair.a, pair.b)):
        raise IndexError("a pair names a photo beyond the list")
    return NearDuplicates(tuple(photos), pairs, unreadable)
