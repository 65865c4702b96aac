"""Records and headers as sealed JSON, the form in which the SQLite store keeps them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.records import FaceRecord, LandmarkCells
from faceflow.gallery.seal import checksum, damaged, seal, unseal


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
    try:
        content = json.loads(text)
        return FaceRecord(
            face_id=face_id,
            person=checked_name(person_id, name, name_seal),
            source=content["source"],
            content_hash=content["content_hash"],
            box=None if content["box"] is None else tuple(content["box"]),
            score=content["score"],
            created=datetime.fromisoformat(content["created"]),
            landmarks=_cells(content.get("landmarks")),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise damaged("record", (face_id,)) from error


def _cells(values: Any) -> LandmarkCells | None:
    return None if values is None else tuple((int(cell), float(share)) for cell, share in values)


def seal_header(header: GalleryHeader) -> bytes:
    """A header's JSON with its checksum."""
    return seal("header", (), json.dumps(header.as_json()).encode())


def unseal_header(sealed: Any) -> GalleryHeader:
    """The header again; GalleryError if it is not what was written."""
    text = unseal("header", (), sealed)
    try:
        values = json.loads(text)
        values["grid"] = tuple(values["grid"])
        values["created"] = datetime.fromisoformat(values["created"])
        return GalleryHeader(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise damaged("header", ()) from error


def seal_name(person_id: int, name: str) -> int:
    """The checksum that stands beside a name."""
    return checksum("name", (person_id,), name.encode())


def checked_name(person_id: int, name: Any, name_seal: Any) -> str:
    """The name, if it is the one written for this person."""
    if not isinstance(name, str) or seal_name(person_id, name) != name_seal:
        raise damaged("list of people", ())
    return name
