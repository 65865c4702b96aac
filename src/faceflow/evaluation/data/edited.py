"""Pictures that another program made from photos: each is paired with its source.

A protocol must keep a masked picture apart from the photo it was made of, or identification
becomes finding the same file. Edits made elsewhere do not say where they come from, but most
programs keep the file's name and add to it: MaskTheFace writes ``NAME_surgical.jpg`` for
``NAME.jpg``. A table says it where names do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from faceflow.errors import InputError
from faceflow.evaluation.data.dataset import Dataset, LeftOut, Photo
from faceflow.evaluation.data.layout import Origin, photos_below
from faceflow.system.files import is_regular, read_table

ORIGIN = Origin("Edited photos", "the program that made them, e.g. MaskTheFace")
NO_SOURCE = "no photo has a name that it begins with"
AMBIGUOUS = "its name fits photos in several folders"
EDITED = "edited"
"""The condition of a picture whose name says nothing of it."""

_HEADER = "its first line must be 'edited,source' or 'edited,source,condition'"


def pair_by_name(folder: Path, sources: Sequence[Photo]) -> Dataset:
    """Pair the pictures below a folder with their source photos by file name.

    A picture's name is its source's name, or that followed by ``_`` or ``-`` and more; the
    longest name that fits is the source's, and what follows becomes the condition. Where
    several photos carry that name, the one whose folder is called alike is meant.

    Args:
        folder: of the edited pictures, with or without the sources' folders.
        sources: the photos they were made of, each a file of its own.

    Returns:
        A photo per picture with the person, age and source id of its source; ``left_out`` lists
        those that have none.

    Raises:
        InputError: no such folder, or no picture in it has a source.
    """
    by_name: dict[str, list[Photo]] = {}
    for photo in sources:
        by_name.setdefault(photo.path.stem, []).append(photo)
    paths, left_out = photos_below(ORIGIN.folder(folder))
    photos: list[Photo] = []
    for path in paths:
        name = next((name for name in _beginnings(path.stem) if name in by_name), None)
        if name is None:
            left_out.append(LeftOut(path, NO_SOURCE))
            continue
        found = by_name[name]
        if len(found) > 1:
            found = [photo for photo in found if photo.path.parent.name == path.parent.name]
        if len(found) != 1:
            left_out.append(LeftOut(path, AMBIGUOUS))
            continue
        photos.append(_edit(path, found[0], path.stem[len(name) + 1 :]))
    return Dataset(folder.resolve().name, folder, tuple(photos), tuple(left_out))


def pair_by_table(table: Path, sources: Sequence[Photo]) -> Dataset:
    """Pair pictures with their source photos as a CSV file says.

    Its columns are ``edited`` and ``source``, paths relative to the file, and, if wanted,
    ``condition``. Errors and the rest as for :func:`pair_by_name`.
    """
    by_path = {photo.path.resolve(): photo for photo in sources}
    photos: list[Photo] = []
    left_out: list[LeftOut] = []
    for edited, source, condition in _rows(ORIGIN.file(table)):
        path, photo = table.parent / edited, by_path.get((table.parent / source).resolve())
        if not is_regular(path):
            left_out.append(LeftOut(path, "the table names it, and it is not there"))
        elif photo is None:
            left_out.append(LeftOut(path, "its source is not among the photos"))
        else:
            photos.append(_edit(path, photo, condition))
    return Dataset(table.stem, table, tuple(photos), tuple(left_out))


def sources_of(edited: Iterable[Photo], sources: Iterable[Photo]) -> Iterator[tuple[Photo, Photo]]:
    """(edited picture, source photo) for each picture that has one."""
    by_id = {photo.source_id: photo for photo in sources}
    for photo in edited:
        if photo.source_id in by_id:
            yield photo, by_id[photo.source_id]


def _beginnings(name: str) -> Iterator[str]:
    """The name, then what stands before each ``_`` or ``-``, longest first."""
    yield name
    for cut in reversed([found.start() for found in re.finditer("[_-]", name)]):
        if cut:
            yield name[:cut]


def _edit(path: Path, source: Photo, condition: str) -> Photo:
    return Photo(path, source.person, source.source_id, condition.strip() or EDITED, source.age)


def _rows(table: Path) -> Iterator[tuple[str, str, str]]:
    for line, (edited, source, condition) in read_table(
        table, ("edited", "source"), ("condition",), todo=_HEADER
    ):
        if not edited or not source or "\0" in edited + source:
            raise InputError(f"{table}, line {line}, lacks a picture or a source", todo=_HEADER)
        yield edited, source, condition
