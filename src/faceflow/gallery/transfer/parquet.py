"""A gallery's faces in one Parquet file, see :mod:`.table`. Needs pyarrow (extra ``parquet``)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceflow.errors import GalleryError, MissingExtraError
from faceflow.gallery.stores.opening import Location
from faceflow.gallery.stores.sqlite import file as sqlite_file
from faceflow.gallery.stores.sqlite import paths
from faceflow.gallery.stores.sqlite.errors import translated
from faceflow.gallery.stores.store import Store
from faceflow.gallery.transfer.folder import not_an_export, refuse_taken
from faceflow.gallery.workplace import workplace
from faceflow.system.files import open_regular

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtraError(
        "Parquet needs the package pyarrow, which is not installed",
        todo="pip install 'faceflow[parquet]'",
    ) from error

from faceflow.gallery.transfer import table

_COMPRESSION = "zstd"


def export(store: Store, target: Path, *, overwrite: bool, patches: bool, thumbnails: bool) -> Path:
    """Write a gallery's faces; the file is there whole or not at all, for its owner to read.

    Raises:
        GalleryError: the name is taken, or the file cannot be written.
    """
    target = paths.real_path(target)
    replaceable = _require_ours if overwrite else None
    with translated(target):
        refuse_taken(target, replaceable)
        with workplace(target) as place:
            partial = place.file("table")
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file, store.snapshot() as view:
                rows = table.Table(view, store.header, patches=patches, thumbnails=thumbnails)
                with pq.ParquetWriter(
                    file, rows.schema, compression=_COMPRESSION, write_page_checksum=True
                ) as writer:
                    for batch in rows.batches():
                        writer.write_batch(batch)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                refuse_taken(target, replaceable)
                partial.replace(target)
                sqlite_file.sync(target.parent)
            else:
                sqlite_file.publish(partial, target)
    return target


def import_table(source: Path, location: Location) -> None:
    """Make a gallery of what :func:`export` wrote. Errors as in :func:`.table.fill`."""
    with _opened(source) as file:

        def batches(rows: int) -> Iterator[pa.RecordBatch]:
            with _explained(source):
                yield from file.iter_batches(batch_size=rows)

        table.fill(source, file.schema_arrow, batches, location)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[Any]:
    with (
        open_regular(source, limit=None, kind="Parquet file", error=GalleryError) as stream,
        _explained(source),
    ):
        file = pq.ParquetFile(stream, page_checksum_verification=True)
        try:
            yield file
        finally:
            file.close()


@contextlib.contextmanager
def _explained(source: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, GalleryError):
            raise
        raise GalleryError(
            f"{source} cannot be read as Parquet",
            why=str(error).partition("\n")[0],
            todo="export the gallery again, or copy the file again",
        ) from error


def _require_ours(target: Path) -> None:
    try:
        with _opened(target) as file:
            table.require_ours(target, file.schema_arrow)
    except GalleryError as error:
        raise not_an_export(target) from error
