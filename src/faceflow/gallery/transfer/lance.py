"""A gallery's faces in a Lance folder, see :mod:`.table`. Needs pylance (extra ``lance``)."""

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
from faceflow.gallery.transfer.folder import not_an_export, publish_folder, refuse_taken
from faceflow.gallery.workplace import workplace

try:
    import lance
    import pyarrow as pa
except ImportError as error:
    raise MissingExtraError(
        "Lance needs the package pylance, which is not installed",
        todo="pip install 'faceflow[lance]'",
    ) from error

from faceflow.gallery.transfer import table


def export(store: Store, target: Path, *, overwrite: bool, patches: bool, thumbnails: bool) -> Path:
    """Write a gallery's faces; the folder is there whole or not at all, for its owner to read.

    Raises:
        GalleryError: the name is taken, or the folder cannot be written.
    """
    target = paths.real_path(target)
    replaceable = _require_ours if overwrite else None
    with translated(target):
        refuse_taken(target, replaceable)
        with workplace(target) as place:
            partial = place.file("table.lance")
            with store.snapshot() as view, _explained(target, "written"):
                rows = table.Table(view, store.header, patches=patches, thumbnails=thumbnails)
                reader = pa.RecordBatchReader.from_batches(rows.schema, rows.batches())
                lance.write_dataset(reader, str(partial))
            partial.chmod(0o700)
            for folder, _, names in os.walk(partial):
                for name in names:
                    sqlite_file.sync(Path(folder) / name)
                sqlite_file.sync(Path(folder))
            publish_folder(place, partial, target, replaceable)
    return target


def import_table(source: Path, location: Location) -> None:
    """Make a gallery of what :func:`export` wrote. Errors as in :func:`.table.fill`."""
    found = _opened(source)

    def batches(rows: int) -> Iterator[pa.RecordBatch]:
        with _explained(source):
            # In the order of the rows, whatever is read first.
            yield from found.to_batches(batch_size=rows, scan_in_order=True)

    table.fill(source, found.schema, batches, location)


def _opened(source: Path) -> Any:
    if not (source / "_versions").is_dir():
        raise GalleryError(f"{source} is not a Lance folder", todo="check the name")
    with _explained(source):
        return lance.dataset(str(source))


@contextlib.contextmanager
def _explained(place: Path, what: str = "read") -> Iterator[None]:
    try:
        yield
    except GalleryError:
        raise
    except (pa.ArrowException, OSError, ValueError, RuntimeError) as error:
        raise GalleryError(
            f"{place} cannot be {what} as Lance",
            why=str(error).partition("\n")[0][:300],
            todo="export the gallery again, or copy the folder again",
        ) from error


def _require_ours(target: Path) -> None:
    try:
        table.require_ours(target, _opened(target).schema)
    except GalleryError as error:
        raise not_an_export(target) from error
