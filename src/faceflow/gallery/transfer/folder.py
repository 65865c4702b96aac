"""A whole gallery as a folder of plain files: safetensors, JSON for the rest, no pickle.

    folder/gallery.json             header, settings, and the name, size and sha256 of each part
    folder/faces-00000.safetensors  face_id (n,) int64, embedding (n, D) float32, the patch
                                    codec's fields (int8: patches, scales, pooled), and the
                                    thumbnails end to end with their sizes (-1: none)
    folder/faces-00000.json         the records of the same faces, in the same order

1,024 faces a part, so neither direction holds more than that in memory. Names of people
appear only inside the JSON; file names never come from data.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from faceflow.arrays import require_finite
from faceflow.errors import FaceflowError, GalleryError
from faceflow.features import FaceFeatures
from faceflow.gallery.codec import PatchCodec, codec
from faceflow.gallery.identity import GalleryHeader, make_header
from faceflow.gallery.preparing import checked_record
from faceflow.gallery.records import FaceRecord
from faceflow.gallery.search import require_unit
from faceflow.gallery.stores.opening import Location, new_store
from faceflow.gallery.stores.sqlite import file as sqlite_file
from faceflow.gallery.stores.sqlite import paths
from faceflow.gallery.stores.sqlite.errors import translated
from faceflow.gallery.stores.store import Store, StoredFace, StoreView
from faceflow.gallery.workplace import Workplace, workplace
from faceflow.system.files import LIST_LIMIT, read_regular

FORMAT = "faceflow-gallery"
VERSION = 1
FACES_PER_PART = 1024
_MANIFEST = "gallery.json"
_PART_NAME = re.compile(r"faces-\d{5,}\.(safetensors|json)")
_WRITE_BATCH = 256
_LARGEST_PART = 2 * 2**30

Tensors = dict[str, NDArray[Any]]


def export_gallery(store: Store, folder: Path, *, overwrite: bool) -> Path:
    """See :meth:`faceflow.gallery.gallery.Gallery.export`."""
    folder = paths.real_path(folder)
    with translated(folder):
        refuse_taken(folder, _require_replaceable if overwrite else None)
        with workplace(folder) as place:
            partial = place.file("export")
            partial.mkdir(mode=0o700)
            with store.snapshot() as view:
                _write_export(view, store.header, partial)
            publish_folder(place, partial, folder, _require_replaceable if overwrite else None)
    return folder


def _write_export(store: StoreView, header: GalleryHeader, folder: Path) -> None:
    fields = codec(header.codec, header.grid, header.channels)
    ids = store.face_ids()
    parts = []
    for number, start in enumerate(range(0, len(ids), FACES_PER_PART)):
        block = ids[start : start + FACES_PER_PART]
        records = [_record_json(record) for record in store.records(block.tolist())]
        parts.append(
            {
                "faces": len(block),
                "tensors": _write(
                    folder, f"faces-{number:05}.safetensors", save(_tensors(store, block, fields))
                ),
                "records": _write(folder, f"faces-{number:05}.json", _json(records)),
            }
        )
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "header": header.as_json(),
        "settings": store.settings(),
        "faces": len(ids),
        "parts": parts,
    }
    manifest["sha256"] = _sha256(_json(manifest))
    _write(folder, _MANIFEST, _json(manifest))
    sqlite_file.sync(folder)


def _tensors(store: StoreView, ids: NDArray[np.int64], fields: PatchCodec) -> Tensors:
    wanted = ids.tolist()
    embedding, payloads = store.embeddings_of(wanted), store.payloads(wanted)
    pictures = store.thumbnails(wanted)
    sizes = [-1 if picture is None else len(picture) for picture in pictures]
    joined = b"".join(picture for picture in pictures if picture is not None)
    return {
        "face_id": ids,
        "embedding": embedding,
        "thumbnail_size": np.array(sizes, dtype=np.int64),
        "thumbnail": np.frombuffer(joined, dtype=np.uint8),
        **fields.unpack(payloads),
    }


def publish_folder(
    place: Workplace, partial: Path, folder: Path, replaceable: Callable[[Path], None] | None
) -> None:
    """Give a folder its name; one that has the name is put aside first if it may be replaced."""
    refuse_taken(folder, replaceable)
    if folder.exists():
        place.put_aside(folder)
    partial.rename(folder)
    sqlite_file.sync(folder.parent)


def refuse_taken(target: Path, replaceable: Callable[[Path], None] | None) -> None:
    """Refuse a name that is taken, or that is in no folder.

    Args:
        target: where an export is to be.
        replaceable: raises unless what has the name is a former export; None: nothing is replaced.
    """
    if not os.path.lexists(target):
        if not target.parent.is_dir():
            raise GalleryError(
                f"cannot export to {target}: there is no folder {target.parent}",
                todo="create the folder",
            )
        return
    if replaceable is None:
        raise GalleryError(
            f"{target} exists already",
            todo="choose another name, or replace it (--force, overwrite=True)",
        )
    replaceable(target)


def not_an_export(target: Path) -> GalleryError:
    """The error for something that is not ours to replace."""
    return GalleryError(
        f"{target} is not a former export, so it is not overwritten", todo="choose another name"
    )


def _require_replaceable(folder: Path) -> None:
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {""}
    strangers = [n for n in names if n != _MANIFEST and not _PART_NAME.fullmatch(n)]
    if strangers or (names and _MANIFEST not in names):
        raise not_an_export(folder)


def import_gallery(folder: Path, location: Location) -> None:
    """See :meth:`faceflow.gallery.gallery.Gallery.import_from`."""
    manifest = _manifest(folder)
    try:
        header = header_of(manifest["header"])
        with new_store(location, header) as store:
            _fill(store, folder, manifest, header)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, FaceflowError):
            raise bad_export(str(error)) from error
        raise bad_export(f"{type(error).__name__} {error}") from error


def _fill(store: Store, folder: Path, manifest: dict[str, Any], header: GalleryHeader) -> None:
    total = 0
    for faces in _read_parts(folder, manifest, header):
        total += len(faces)
        for start in range(0, len(faces), _WRITE_BATCH):
            added = store.add(faces[start : start + _WRITE_BATCH])
            if any(result.face_id is None for result in added):
                raise bad_export("a person has the same photo twice")
    if total != manifest["faces"]:
        raise bad_export(f"it holds {total} faces instead of {manifest['faces']}")
    store.update_settings(manifest["settings"])


def _manifest(folder: Path) -> dict[str, Any]:
    if not os.path.lexists(folder / _MANIFEST):
        raise GalleryError(
            f"{folder} is not an export of a gallery", why=f"there is no {_MANIFEST} in it"
        )
    content = read_regular(folder / _MANIFEST, limit=LIST_LIMIT, kind="list", error=GalleryError)
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise bad_export(f"{_MANIFEST} is not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise bad_export(f"{_MANIFEST} is of another program")
    if manifest.get("version") != VERSION:
        raise GalleryError(
            f"the export has format {manifest.get('version')!r}, known is {VERSION}",
            todo="upgrade faceflow",
        )
    if manifest.pop("sha256", None) != _sha256(_json(manifest)):
        raise bad_export(f"{_MANIFEST} was changed or damaged")
    return manifest


def header_of(content: dict[str, Any]) -> GalleryHeader:
    """A header from an export's JSON, checked as if it had just been made."""
    values = GalleryHeader.of_any_version(content)
    created = _time(values.pop("created"))
    h, w = values["grid"]
    made = make_header(**values | {"grid": (h, w)})
    return GalleryHeader(**asdict(made) | {"created": created})


def _read_parts(
    folder: Path, manifest: dict[str, Any], header: GalleryHeader
) -> Iterator[list[StoredFace]]:
    fields = codec(header.codec, header.grid, header.channels)
    for part in manifest["parts"]:
        records = json.loads(_read(folder, part["records"]))
        try:
            tensors: Tensors = load(_read(folder, part["tensors"]))
        except SafetensorError as error:
            raise bad_export(f"{part['tensors']['name']} is not a safetensors file") from error
        yield _stored(records, tensors, header, fields)


def _stored(
    records: list[dict[str, Any]], tensors: Tensors, header: GalleryHeader, fields: PatchCodec
) -> list[StoredFace]:
    n, cells = len(records), header.grid[0] * header.grid[1]
    expected = {
        "face_id": ("int64", (n,)),
        "embedding": ("float32", (n, header.embedding_size)),
        "thumbnail_size": ("int64", (n,)),
        "thumbnail": ("uint8", tensors["thumbnail"].shape[:1]),
        **{f.name: (np.dtype(f.dtype).name, (n, *f.shape)) for f in fields.fields},
    }
    if {name: (t.dtype.name, t.shape) for name, t in tensors.items()} != expected:
        raise bad_export("its arrays have other names, types or shapes than the header says")
    payloads = checked_payloads(tensors, header, fields)
    pictures = _pictures(tensors["thumbnail_size"], tensors["thumbnail"].tobytes())
    return [
        StoredFace(_record(record, int(face_id), cells), embedding, payload, picture)
        for record, face_id, embedding, payload, picture in zip(
            records, tensors["face_id"], tensors["embedding"], payloads, pictures, strict=True
        )
    ]


def checked_payloads(
    tensors: Mapping[str, NDArray[Any]], header: GalleryHeader, fields: PatchCodec
) -> list[bytes]:
    """Patches as a store keeps them, of arrays of the right shapes; InputError for odd numbers."""
    embedding = tensors["embedding"]
    require_finite("embedding", embedding)
    require_unit("embedding", embedding)
    if not fields.keeps_patches:
        return [b""] * len(embedding)
    payloads = fields.pack(tensors)
    # Building the features refuses NaN and infinity in anything a codec gives back.
    patches, norms = fields.expand(fields.unpack(payloads))
    FaceFeatures(embedding, patches, norms, tensors["pooled"], header.grid)
    fields.require_valid(tensors)
    return payloads


def _pictures(sizes: NDArray[np.int64], joined: bytes) -> list[bytes | None]:
    if (sizes < -1).any() or np.maximum(sizes, 0).sum() != len(joined):
        raise bad_export("its thumbnails do not add up")
    ends = np.cumsum(np.maximum(sizes, 0)).tolist()
    return [
        None if size < 0 else joined[end - size : end]
        for size, end in zip(sizes.tolist(), ends, strict=True)
    ]


def _record_json(record: FaceRecord) -> dict[str, Any]:
    values = asdict(record) | {"created": record.created.isoformat()}
    if record.landmarks is None:  # as exports of older galleries, which never had them
        del values["landmarks"]
    return values


def _record(values: dict[str, Any], face_id: int, cells: int) -> FaceRecord:
    if face_id < 1 or values.pop("face_id") != face_id:
        raise bad_export("records and arrays disagree about the faces' ids")
    created = _time(values["created"])
    return checked_record(face_id=face_id, cells=cells, **values | {"created": created})


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise bad_export(f"the time {text} has no time zone")
    return time.astimezone(UTC)


def _write(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    with (folder / name).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"name": name, "bytes": len(content), "sha256": _sha256(content)}


def _read(folder: Path, entry: dict[str, Any]) -> bytes:
    name = entry["name"]
    if not _PART_NAME.fullmatch(name):
        raise bad_export(f"{name!r} is not the name of a part")
    limit = min(int(entry["bytes"]), _LARGEST_PART)
    content = read_regular(folder / name, limit=limit, kind="part", error=GalleryError)
    if len(content) != entry["bytes"] or _sha256(content) != entry["sha256"]:
        raise bad_export(f"{name} was changed or damaged")
    return content


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def bad_export(why: str) -> GalleryError:
    """The error for an export that is not what was written."""
    return GalleryError(
        "the export cannot be imported", why=why, todo="export the gallery again, or copy it again"
    )
