"""Embeddings in an ``.npy`` file, and who they show in a CSV file: row by row the same faces.

The CSV has the column ``person`` and, if known, ``path`` (the photo, relative to the CSV) and
``sha256`` (of the photo). A photo that is there is hashed. Where there is neither, the embedding's
own bytes take the hash's place: then enrolling the photo later adds it once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import FaceflowError, InputError
from faceflow.faces.images import content_hash
from faceflow.gallery.records import ImportReport
from faceflow.gallery.sources import checked_hash
from faceflow.gallery.stores.opening import Location
from faceflow.gallery.transfer.foreign import (
    ForeignFace,
    import_faces,
    narrow,
    require_sizes,
    word_for,
)
from faceflow.system.files import is_regular, read_table, require_regular

_EXAMPLE = "its first line must be 'person', or 'person,path,sha256', and each other line a face"


def import_arrays(
    embeddings: Path,
    people: Path,
    location: Location,
    *,
    network: str,
    detector: str,
    patches: Path | None = None,
) -> ImportReport:
    """See :meth:`faceflow.gallery.gallery.Gallery.import_embeddings`."""
    spec, header = word_for(network, detector, patches=patches is not None)
    vectors = _load(embeddings, 2)
    maps = None if patches is None else _load(patches, 4)
    require_sizes(spec, vectors.shape[1:], None if maps is None else maps.shape[1:])
    if maps is not None and len(maps) != len(vectors):
        raise InputError(
            f"{embeddings} holds {len(vectors):,} faces, and {patches} {len(maps):,}",
            why="row by row they must be the same faces",
        )
    rows = _rows(people)
    if len(rows) != len(vectors):
        raise InputError(
            f"{embeddings} holds {len(vectors):,} faces, and {people} names {len(rows):,}",
            why="row by row they must be the same faces",
        )
    return import_faces(_faces(vectors, maps, rows, people), header, location)


def _load(path: Path, dimensions: int) -> NDArray[Any]:
    """An array of floats in its file; only what is used of it is read."""
    require_regular(path, limit=None, kind="array file")
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # its reader of headers raises whatever hostile bytes lead it to
        raise InputError(
            f"{path} cannot be read as an array",
            why=str(error).partition("\n")[0],
            todo="save it with numpy.save; nothing pickled is read",
        ) from error
    if found.dtype.kind != "f" or found.ndim != dimensions:
        raise InputError(
            f"{path} has the shape {found.shape} and the type {found.dtype}",
            why="(faces, numbers) is needed of embeddings, and (faces, channels, height, width) "
            "of patches, in floats",
        )
    return found


def _rows(people: Path) -> list[tuple[str, str, str]]:
    found = read_table(people, ("person",), ("path", "sha256"), todo=_EXAMPLE)
    return [(person, path, sha256) for _, (person, path, sha256) in found]


def _faces(
    vectors: NDArray[Any],
    maps: NDArray[Any] | None,
    rows: list[tuple[str, str, str]],
    people: Path,
) -> Iterator[ForeignFace]:
    for number, (person, place, digest) in enumerate(rows):
        try:
            yield ForeignFace(
                person=person,
                source=place or f"{people.name}, face {number + 1}",
                content_hash=_hash(digest, people.parent / place if place else None),
                embedding=narrow(vectors[number]),
                maps=None if maps is None else narrow(maps[number]),
            )
        except FaceflowError as error:
            raise InputError(
                f"face {number + 1} of {people} cannot be imported", why=str(error)
            ) from error


def _hash(digest: str, photo: Path | None) -> str | None:
    if digest:
        return checked_hash(digest)
    if photo is not None and is_regular(photo):
        return content_hash(photo)
    return None
