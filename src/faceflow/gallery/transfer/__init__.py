"""Galleries that come and go: whole ones, tables for other programs, and other programs' features.

* :mod:`.folder`: a whole gallery as safetensors and JSON.
* :mod:`.table`: faces as rows, in a Parquet file (:mod:`.parquet`) or a Lance folder
  (:mod:`.lance`).
* :mod:`.foreign`: embeddings that others computed, from ``.npy`` and CSV (:mod:`.arrays`) or a
  DeepFace pickle (:mod:`.deepface`).
"""

from __future__ import annotations

from pathlib import Path

from faceflow.errors import GalleryError
from faceflow.gallery.stores.opening import Location
from faceflow.gallery.stores.store import Store
from faceflow.gallery.transfer import folder

PARQUET, LANCE = ".parquet", ".lance"


def export_gallery(
    store: Store,
    target: Path,
    *,
    overwrite: bool = False,
    patches: bool = False,
    thumbnails: bool = False,
) -> Path:
    """Write a gallery; see :meth:`faceflow.gallery.gallery.Gallery.export`."""
    if target.suffix == PARQUET:
        from faceflow.gallery.transfer import parquet

        return parquet.export(
            store, target, overwrite=overwrite, patches=patches, thumbnails=thumbnails
        )
    if target.suffix == LANCE:
        from faceflow.gallery.transfer import lance

        return lance.export(
            store, target, overwrite=overwrite, patches=patches, thumbnails=thumbnails
        )
    return folder.export_gallery(store, target, overwrite=overwrite)


def import_gallery(source: Path, location: Location) -> None:
    """Make a gallery of an export; see :meth:`faceflow.gallery.gallery.Gallery.import_from`."""
    if source.suffix == PARQUET:
        from faceflow.gallery.transfer import parquet

        parquet.import_table(source, location)
    elif source.suffix == LANCE:
        from faceflow.gallery.transfer import lance

        lance.import_table(source, location)
    elif source.suffix in (".npy", ".pkl", ".pickle"):
        raise GalleryError(
            f"{source} does not say which network its embeddings come from",
            why="embeddings of different networks cannot be compared",
            todo="name it (--network and --detector, or Gallery.import_embeddings)",
        )
    else:
        folder.import_gallery(source, location)
