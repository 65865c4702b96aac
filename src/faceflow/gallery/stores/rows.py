"""Records and headers as sealed JSON, the form in which the SQLite store keeps them."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from faceflow.errors import InputError
from faceflow.gallery.identity import GalleryHeader, make_header
from faceflow.gallery.person_names import MAX_NAME, person_name
from faceflow.gallery.records import Box, FaceRecord, LandmarkCells
from faceflow.gallery.sources import checked_hash, source_label
from faceflow.gallery.stores.seal import checksum, damaged, seal, unseal

# What reading a value can raise that no gallery has written.
_UNFIT = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def seal_record(record: FaceRecord, face_id: int, person_id: int) -> bytes:
    """Everything of a record but the person's name, bound to the face and the person."""
    content: dict[str, Any] = {
        "source": record.source,
        "content_hash": record.content_hash,
        "box": record.box,
        "score": record.score,
        "created": record.created.astimezone(UTC).isoformat(),
    }
    if record.landmarks is not None:  # left out where unknown, as records of older galleries do
        content["landmarks"] = record.landmarks
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return seal("record", (face_id, person_id), text.encode())


def unseal_record(
    face_id: int, person_id: int, sealed: Any, name: Any, name_seal: Any
) -> FaceRecord:
    """The record again; GalleryError if it or the name is not what was written."""
    text = unseal("record", (face_id, person_id), sealed)
    person = checked_name(person_id, name, name_seal)
    try:
        content = json.loads(text)
        record = FaceRecord(
            face_id=face_id,
            person=person,
            source=content["source"],
            content_hash=content["content_hash"],
            box=None if content["box"] is None else _box(content["box"]),
            score=float(content["score"]),
            created=datetime.fromisoformat(content["created"]).astimezone(UTC),
            landmarks=_cells(content.get("landmarks")),
        )
        # A checksum is no signature: whoever made the file may have written anything.
        good = (
            source_label(record.source) == record.source
            and checked_hash(record.content_hash) == record.content_hash
            and math.isfinite(record.score)
        )
    except _UNFIT as error:
        raise damaged("record", (face_id,)) from error
    if not good:
        raise damaged("record", (face_id,))
    return record


def _box(values: Any) -> Box:
    x0, y0, x1, y1 = map(float, values)
    if not (-math.inf < x0 < x1 < math.inf and -math.inf < y0 < y1 < math.inf):
        raise ValueError("a box without area")
    return x0, y0, x1, y1


def _cells(values: Any) -> LandmarkCells | None:
    if values is None:
        return None
    cells = tuple((int(cell), float(share)) for cell, share in values)
    if any(cell < 0 or not 0 < share <= 1.001 for cell, share in cells):
        raise ValueError("a share of landmarks that cannot be")
    return cells


def seal_header(header: GalleryHeader) -> bytes:
    """A header's JSON with its checksum."""
    return seal("header", (), json.dumps(header.as_json()).encode())


def unseal_header(sealed: Any) -> GalleryHeader:
    """The header again; GalleryError if it is not what was written."""
    text = unseal("header", (), sealed)
    try:
        values = GalleryHeader.of_any_version(json.loads(text))
        created = datetime.fromisoformat(values.pop("created")).astimezone(UTC)
        return replace(make_header(**values), created=created)
    except _UNFIT as error:
        raise damaged("header", ()) from error


def unseal_setting(name: Any, sealed: Any) -> Any:
    """A setting's value again; GalleryError if it is not what was written."""
    text = unseal(f"setting {name}", (), sealed)
    try:
        return json.loads(text)
    except _UNFIT as error:
        raise damaged("list of settings", ()) from error


def seal_name(person_id: int, name: str) -> int:
    """The checksum that stands beside a name."""
    return checksum("name", (person_id,), name.encode())


def checked_name(person_id: Any, name: Any, name_seal: Any) -> str:
    """The name, if it is the one written for this person, and one that a person can have."""
    if (
        not isinstance(name, str)
        or not isinstance(person_id, int)
        or seal_name(person_id, name) != name_seal
        or not _is_name(name)
    ):
        raise damaged("list of people", ())
    return name


@functools.lru_cache(4096)
def _is_name(name: str) -> bool:
    if name.isascii():  # mostly, and told at once: printable is all that stands against it
        return name.isprintable() and name.strip() == name and 0 < len(name) <= MAX_NAME
    try:
        return person_name(name) == name
    except InputError:
        return False
