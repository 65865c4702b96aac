"""Faces as the rows of an Arrow table, for Parquet and Lance.

    face_id       int64
    person        string
    source        string                       where the photo came from, a label
    content_hash  string                       sha256 of the photo, hex digits
    box           4 float64, or null           x0, y0, x1, y1 in pixels of the photo
    score         float64                      the detector's
    created       timestamp, microseconds UTC
    landmarks     list of (cell, share), or null
    embedding     D float32, of length 1

and on request

    thumbnail     JPEG, or null
    patches       R * C int8 as bytes, row by row of the grid     codec int8
    scales        R float32: patches[r] * scales[r] is what the network gave for patch r
    pooled        C float32
    patches       R * C little-endian float32 as bytes, of length 1 each      codec float32
    norms         R float32: patches[r] * norms[r] is what the network gave
    pooled        C float32

The schema's metadata hold under ``faceflow`` a JSON document: the gallery's header (network,
digest, detector, grid, codec), its settings, and how many faces there are. With it the rows make
the same gallery again, to the bit; one of a table without patches is searched by embeddings alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceflow.errors import FaceflowError, GalleryError
from faceflow.gallery.codec import Field, NoCodec, PatchCodec, codec
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.preparing import checked_record
from faceflow.gallery.records import FaceRecord
from faceflow.gallery.stores.opening import Location, new_store
from faceflow.gallery.stores.store import Store, StoredFace, StoreView
from faceflow.gallery.transfer.folder import bad_export, checked_payloads, header_of

FORMAT = "faceflow-gallery-table"
VERSION = 1
KEY = b"faceflow"
ROWS_AT_ONCE = 1024
_WRITE_BATCH = 256

_LANDMARKS = pa.list_(pa.struct([("cell", pa.int32()), ("share", pa.float64())]))


def schema_of(
    header: GalleryHeader, *, patches: bool, thumbnails: bool, metadata: dict[bytes, bytes] | None
) -> pa.Schema:
    """The columns of a gallery's faces."""
    columns = [
        pa.field("face_id", pa.int64(), nullable=False),
        pa.field("person", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("box", pa.list_(pa.float64(), 4)),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("created", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("landmarks", _LANDMARKS),
        pa.field("embedding", pa.list_(pa.float32(), header.embedding_size), nullable=False),
    ]
    if thumbnails:
        columns.append(pa.field("thumbnail", pa.binary()))
    if patches:
        fields = codec(header.codec, header.grid, header.channels).fields
        columns += [pa.field(one.name, _type(one), nullable=False) for one in fields]
    return pa.schema(columns, metadata=metadata)


def _type(field: Field) -> pa.DataType:
    """Matrices as bytes: as a Parquet list each of 8,192 codes would take four bytes."""
    if len(field.shape) == 2:
        return pa.binary(field.size)
    return pa.list_(pa.float32(), field.shape[0])


class Table:
    """The rows of one state of a gallery, as they are to be written."""

    def __init__(
        self, view: StoreView, header: GalleryHeader, *, patches: bool, thumbnails: bool
    ) -> None:
        self._view = view
        self._fields = codec(header.codec, header.grid, header.channels) if patches else None
        self._thumbnails = thumbnails
        self._ids = view.face_ids()
        about = {
            "format": FORMAT,
            "version": VERSION,
            "header": header.as_json(),
            "settings": view.settings(),
            "faces": len(self._ids),
            "patches": patches,
            "thumbnails": thumbnails,
        }
        self.schema = schema_of(
            header,
            patches=patches,
            thumbnails=thumbnails,
            metadata={KEY: json.dumps(about, ensure_ascii=False).encode()},
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows by face id, 1,024 at a time."""
        for start in range(0, len(self._ids), ROWS_AT_ONCE):
            yield self._batch(self._ids[start : start + ROWS_AT_ONCE].tolist())

    def _batch(self, ids: list[int]) -> pa.RecordBatch:
        records = self._view.records(ids)
        columns: dict[str, Any] = {
            "face_id": ids,
            "person": [one.person for one in records],
            "source": [one.source for one in records],
            "content_hash": [one.content_hash for one in records],
            "box": [one.box for one in records],
            "score": [one.score for one in records],
            "created": [one.created for one in records],
            "landmarks": [_landmark_rows(one) for one in records],
            "embedding": self._view.embeddings_of(ids),
        }
        if self._thumbnails:
            columns["thumbnail"] = self._view.thumbnails(ids)
        if self._fields is not None:
            columns |= self._fields.unpack(self._view.payloads(ids))
        arrays = [_array(columns[field.name], field.type) for field in self.schema]
        return pa.record_batch(arrays, schema=self.schema)


def _landmark_rows(record: FaceRecord) -> list[dict[str, float]] | None:
    if record.landmarks is None:
        return None
    return [{"cell": cell, "share": share} for cell, share in record.landmarks]


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if not isinstance(values, np.ndarray):
        return pa.array(values, kind)
    if pa.types.is_fixed_size_binary(kind):
        raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(raw)])
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), kind.list_size)


Batches = Callable[[int], Iterable[pa.RecordBatch]]
"""The rows of a table, at most so many at a time."""


def fill(place: Path, schema: pa.Schema, batches: Batches, location: Location) -> None:
    """Make a gallery of a table's rows; it is there whole at the end, or not at all.

    Raises:
        GalleryError: the table is not one of ours, was changed, or holds impossible values.
    """
    about = require_ours(place, schema)
    try:
        header = header_of(about["header"])
        patches, thumbnails = bool(about["patches"]), bool(about["thumbnails"])
        wanted = schema_of(header, patches=patches, thumbnails=thumbnails, metadata=None)
        if not schema.remove_metadata().equals(wanted):
            raise bad_export("its columns have other names or types than it says")
        if not patches:
            header = replace(header, codec=NoCodec.name)
        fields = codec(header.codec, header.grid, header.channels)
        with new_store(location, header) as store:
            _fill(store, batches, header, fields, about)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, FaceflowError):
            raise bad_export(str(error)) from error
        raise bad_export(f"{type(error).__name__} {error}") from error


def _fill(
    store: Store,
    batches: Batches,
    header: GalleryHeader,
    fields: PatchCodec,
    about: dict[str, Any],
) -> None:
    total = 0
    for batch in batches(_WRITE_BATCH):
        faces = _faces(batch, header, fields)
        if any(added.face_id is None for added in store.add(faces)):
            raise bad_export("a person has the same photo twice")
        total += len(faces)
    if total != about["faces"]:
        raise bad_export(f"it holds {total} faces instead of {about['faces']}")
    store.update_settings(about["settings"])


def require_ours(place: Path, schema: pa.Schema) -> dict[str, Any]:
    """What a table says about itself; GalleryError for one that faceflow did not write."""
    try:
        about = json.loads((schema.metadata or {})[KEY])
    except (KeyError, ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise GalleryError(
            f"{place} is not an export of a gallery",
            why="its metadata do not say which network and detector its rows come from",
            todo="of embeddings that others computed, save an .npy file and a CSV file of names, "
            "and import those",
        )
    if about.get("version") != VERSION:
        raise GalleryError(
            f"the export has format {about.get('version')!r}, known is {VERSION}",
            todo="upgrade faceflow",
        )
    return about


def _faces(batch: pa.RecordBatch, header: GalleryHeader, fields: PatchCodec) -> list[StoredFace]:
    if any(
        column.null_count for column, f in zip(batch, batch.schema, strict=True) if not f.nullable
    ):
        raise bad_export("a value is missing")
    tensors = {"embedding": _numbers(batch, "embedding", (header.embedding_size,), "<f4")}
    tensors |= {one.name: _numbers(batch, one.name, one.shape, one.dtype) for one in fields.fields}
    payloads = checked_payloads(tensors, header, fields)
    cells = header.grid[0] * header.grid[1]
    pictures = (
        batch.column("thumbnail").to_pylist()
        if "thumbnail" in batch.schema.names
        else [None] * len(batch)
    )
    plain = ["face_id", "person", "source", "content_hash", "box", "score", "created", "landmarks"]
    rows = batch.select(plain).to_pylist()
    return [
        StoredFace(_record(row, cells), embedding, payload, picture)
        for row, embedding, payload, picture in zip(
            rows, tensors["embedding"], payloads, pictures, strict=True
        )
    ]


def _numbers(batch: pa.RecordBatch, name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    column = batch.column(name)
    if pa.types.is_fixed_size_binary(column.type):
        width = column.type.byte_width
        _, data = column.buffers()
        raw = np.frombuffer(data, np.uint8)[column.offset * width :][: len(column) * width]
        values: NDArray[Any] = raw.copy().view(dtype)
    else:
        flat = column.flatten()
        if flat.null_count:
            raise bad_export("a number is missing")
        values = flat.to_numpy(zero_copy_only=False)
    native = values.astype(np.dtype(dtype).newbyteorder("="), copy=False)
    return native.reshape(len(column), *shape)


def _record(row: dict[str, Any], cells: int) -> FaceRecord:
    if row["face_id"] < 1:
        raise bad_export("a face's id is not positive")
    marks = row["landmarks"]
    return checked_record(
        cells=cells,
        **row
        | {"landmarks": None if marks is None else [(one["cell"], one["share"]) for one in marks]},
    )
