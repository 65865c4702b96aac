"""Where the photos of a bulk enrolment come from, in tasks that workers take one at a time.

Paths are those of plain enrolment: folders per person, CSV files, tar files, single photos. An
address with a scheme (``s3://bucket/people``, ``gs://``, ``file://``) is read through fsspec, which
needs the package for that kind of storage on every machine; it may be a folder, a CSV file or a
tar file likewise. Workers on other machines must find the same paths there.
"""

from __future__ import annotations

import csv
import io
import itertools
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceflow.errors import FaceflowError, ImageError, InputError, MissingExtraError
from faceflow.faces.images import SUFFIXES
from faceflow.faces.photo_limits import FILE_LIMIT
from faceflow.gallery import person_name
from faceflow.gallery.enrolment import Looked, Photo, list_photos
from faceflow.gallery.tar_shards import members
from faceflow.system.files import LIST_LIMIT, size_text

PHOTOS_A_TASK = 16


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """A photo behind an address, and whose it is."""

    place: str
    person: str

    def read(self) -> bytes:
        """Its bytes; ImageError if they cannot be had."""
        try:
            return _read(self.place, FILE_LIMIT)
        except InputError as error:
            raise ImageError(error.what, why=error.why, todo=error.todo) from error


@dataclass(frozen=True, slots=True)
class StoredShard:
    """A tar file behind an address; ``person`` shows whom all its photos show, if not None."""

    place: str
    person: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A photo whose bytes are here, or what is wrong with it."""

    place: str
    person: str | None
    content: bytes | FaceflowError


Task = tuple[Photo | StoredPhoto, ...] | StoredShard


@dataclass(frozen=True, slots=True)
class Work:
    """All of a bulk enrolment.

    Attributes:
        tasks: in the order of the photos.
        skipped: photos that no person can be told for.
        photos: how many are in the tasks; None where shards must be read to know.
    """

    tasks: tuple[Task, ...]
    skipped: tuple[Looked, ...]
    photos: int | None


def work_of(sources: Iterable[str | Path], *, person: str | None = None) -> Work:
    """Find the photos behind paths and addresses.

    Raises:
        InputError: no photo at all, a photo without a person, or an address that cannot be read.
        MissingExtraError: an address is given, and fsspec or its package is not installed.
    """
    tasks: list[Task] = []
    skipped: list[Looked] = []
    count: int | None = 0
    for source in map(str, sources):
        if "://" not in source:
            listing = list_photos([source], person=person, tar=True)
            found: list[Photo | StoredPhoto] = list(listing.photos)
            skipped += [Looked(str(s.path), s.person, "", s.error) for s in listing.skipped]
        elif source.lower().endswith(".tar"):
            tasks.append(StoredShard(source, None if person is None else person_name(person)))
            count = None
            continue
        else:
            found, left_out = _stored(source, person)
            skipped += left_out
        tasks += _in_tasks(found)
        count = None if count is None else count + len(found)
    return Work(tuple(tasks), tuple(skipped), None if count is None else count + len(skipped))


def _in_tasks(photos: list[Photo | StoredPhoto]) -> Iterator[Task]:
    for start in range(0, len(photos), PHOTOS_A_TASK):
        yield tuple(photos[start : start + PHOTOS_A_TASK])


def opened(task: Task) -> Iterator[list[Opened]]:
    """A task's photos with their bytes, at most 16 at a time."""
    photos = _in_shard(task) if isinstance(task, StoredShard) else map(_opened, task)
    while some := list(itertools.islice(photos, PHOTOS_A_TASK)):
        yield some


def _opened(photo: Photo | StoredPhoto) -> Opened:
    place = str(photo.place)
    try:
        return Opened(place, photo.person, photo.read())
    except FaceflowError as error:
        return Opened(place, photo.person, error)


def _in_shard(shard: StoredShard) -> Iterator[Opened]:
    with _open(shard.place) as stream:
        for found in members(stream, shard.place):
            place = f"{shard.place}/{found.member.name}"
            name = shard.person or found.person
            try:
                if name is None:
                    raise InputError(f"{place} is in no person's folder, and nothing names one")
                name = person_name(name)
            except InputError as error:
                yield Opened(place, None, error)
                continue
            try:
                yield Opened(place, name, found.member.read(stream, place))
            except ImageError as error:
                yield Opened(place, name, error)


def _stored(address: str, person: str | None) -> tuple[list[Photo | StoredPhoto], list[Looked]]:
    """The photos of a folder or CSV file behind an address."""
    if address.lower().endswith(".csv"):
        return _listed(address), []
    system, folder = _system(address)
    try:
        paths = sorted(system.find(folder))
    except (OSError, ValueError) as error:
        raise _unreadable(address, error) from error
    found: list[Photo | StoredPhoto] = []
    skipped: list[Looked] = []
    for path in paths:
        if posixpath.splitext(path)[1].lower() not in SUFFIXES:
            continue
        below = posixpath.relpath(path, folder).split("/")
        place = system.unstrip_protocol(path)
        if any(part.startswith(".") for part in below):
            continue
        try:
            if person is None and len(below) < 2:
                raise InputError(f"{place} lies in no person's folder")
            found.append(StoredPhoto(place, person_name(person or below[0])))
        except InputError as error:
            skipped.append(Looked(place, None, "", error))
    if not found and not skipped:
        raise InputError(
            f"There are no photos in {address}",
            todo="give a folder that holds one folder of photos per person",
        )
    return found, skipped


def _listed(address: str) -> list[Photo | StoredPhoto]:
    example = "its first line must be 'path,person' and each other line a photo and a name"
    try:
        text = _read(address, LIST_LIMIT).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        if not {"path", "person"} <= set(rows.fieldnames or ()):
            raise InputError(f"{address} has no columns path and person", todo=example)
        folder = posixpath.dirname(address)
        found: list[Photo | StoredPhoto] = []
        for row in rows:
            place, name = row["path"] or "", row["person"] or ""
            if not place or not name.strip():
                raise InputError(
                    f"{address}, line {rows.line_num}, lacks a path or a person", todo=example
                )
            full = place if "://" in place else f"{folder}/{place}"
            found.append(StoredPhoto(full, person_name(name)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(address, error) from error
    if not found:
        raise InputError(f"{address} lists no photos", todo=example)
    return found


def _read(address: str, limit: int) -> bytes:
    with _open(address) as stream:
        try:
            content: bytes = stream.read(limit + 1)
        except (OSError, ValueError) as error:
            raise _unreadable(address, error) from error
    if len(content) > limit:
        raise InputError(
            f"{address} is too large", why=f"at most {size_text(limit)} of it are read"
        )
    return content


def _open(address: str) -> Any:
    system, path = _system(address)
    try:
        return system.open(path, "rb")
    except (OSError, ValueError) as error:
        raise _unreadable(address, error) from error


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    try:
        found: tuple[Any, str] = _fsspec().core.url_to_fs(address)
    except ImportError as error:
        raise MissingExtraError(
            f"{address} cannot be read here",
            why=str(error),
            todo="install the package that it names, on every machine of the cluster",
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(address, error) from error
    return found


def _fsspec() -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(
            "Object storage needs the package fsspec, which is not installed",
            todo="pip install 'faceflow[ray]'",
        ) from error
    return fsspec


def _unreadable(address: str, error: Exception) -> InputError:
    return InputError(
        f"{address} cannot be read",
        why=str(error).partition("\n")[0] or type(error).__name__,
        todo="check the address, and who may read it",
    )
