"""Photos in tar files, as folders of people or as WebDataset samples, read where they lie.

A sample is the files of one name up to its first dot, one after the other: ``000123.jpg`` with
``000123.json`` or ``000123.cls``. The person is the text ``person`` of the JSON, else the text of
the ``.cls``; without either it is the first folder of the photo's path in the tar file.

Only plain tar files: of a compressed one every photo would have to be read to find the next.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from faceflow.errors import ImageError, InputError
from faceflow.faces.images import SUFFIXES
from faceflow.faces.photo_limits import FILE_LIMIT
from faceflow.system.files import open_regular, size_text

_NAMING = (".json", ".cls")
_LARGEST_NAMING = 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """Where a photo lies in a tar file: its name there, and its bytes."""

    name: str
    offset: int
    size: int

    def read(self, stream: BinaryIO, place: str) -> bytes:
        """The photo's bytes out of the open tar file; ImageError if they are not all there."""
        if self.size > FILE_LIMIT:
            raise ImageError(
                f"The image {place} is too large",
                why=f"it holds {size_text(self.size)}, and at most {size_text(FILE_LIMIT)} are "
                "read",
            )
        try:
            stream.seek(self.offset)
            content = stream.read(self.size)
        except OSError as error:
            raise ImageError(f"The image {place} cannot be read", why=str(error)) from error
        if len(content) != self.size:
            raise ImageError(
                f"The image {place} cannot be read", why="the tar file was cut or changed"
            )
        return content


@dataclass(frozen=True, slots=True)
class Found:
    """A photo in a tar file, and who the file says it shows."""

    member: Member
    person: str | None


def open_shard(path: Path) -> BinaryIO:
    """Open a tar file; InputError if it is none, or no regular file."""
    return open_regular(path, limit=None, kind="tar file")


def members(stream: BinaryIO, name: str) -> Iterator[Found]:
    """The photos of a tar file, in its order; hidden files and what is no photo are passed over.

    Args:
        stream: the open file, which must be able to seek.
        name: what to call it in errors.

    Raises:
        InputError: no tar file, a compressed one, or one that ends early.
    """
    photos: list[Member] = []
    person: str | None = None
    key = ""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as shard:
            for entry in shard:
                path = PurePosixPath(entry.name)
                if not entry.isreg() or any(part.startswith(".") for part in path.parts):
                    continue
                stem, _, ending = path.name.partition(".")
                if (at := str(path.parent / stem)) != key:
                    yield from _named(photos, person)
                    photos, person, key = [], None, at
                if path.suffix.lower() in SUFFIXES:
                    photos.append(Member(entry.name, entry.offset_data, entry.size))
                elif f".{ending.lower()}" in _NAMING and entry.size <= _LARGEST_NAMING:
                    content = Member(entry.name, entry.offset_data, entry.size).read(stream, name)
                    told = _told(content, ending.lower())
                    person = told if person is None or ending.lower() == "json" else person
        yield from _named(photos, person)
    except tarfile.TarError as error:
        raise InputError(
            f"{name} cannot be read as a tar file",
            why=str(error),
            todo="give a whole tar file that is not compressed",
        ) from error


def _named(photos: list[Member], person: str | None) -> Iterator[Found]:
    for member in photos:
        folders = [part for part in PurePosixPath(member.name).parts[:-1] if part != "/"]
        yield Found(member, person or (folders[0] if folders else None))


def _told(content: bytes, ending: str) -> str | None:
    """The name in a sample's JSON or class file, if there is one."""
    try:
        text = content.decode()
        if ending == "cls":
            return text.strip() or None
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    name = told.get("person") if isinstance(told, dict) else None
    return name if isinstance(name, str) else None
