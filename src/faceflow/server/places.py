"""Where a service's galleries are: a folder of files, one file, or a schema of a database.

Each gallery has a name in addresses, and a mark that tells another one in its place from itself.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from pathlib import Path

from faceflow.errors import InputError
from faceflow.gallery import GalleryLocation
from faceflow.gallery.stores.location import server_location

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SUFFIX = ".faceflow"
_BESIDE = ("-wal", "-shm", "-journal")

Mark = tuple[int, int]


class Places(ABC):
    """The galleries of a service."""

    makes_more = False
    """Whether galleries can be made here."""
    removes = True
    """Whether they can be removed, which a database's administrator does."""
    rows_go = (
        "rows deleted and overwritten with zeroes in the gallery's file, and its log emptied "
        "(SQLite secure_delete)"
    )
    """How rows are erased, for certificates."""

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all galleries there are now, sorted."""

    @abstractmethod
    def location(self, name: str) -> Path | GalleryLocation:
        """Where a gallery of that name is, or would be."""

    @abstractmethod
    def mark(self, name: str) -> Mark | None:
        """What tells the gallery that is there now from another one; None: there is none."""

    @abstractmethod
    def without_place(self, text: str) -> str:
        """A message without where things lie, which is nobody's business outside."""

    def remove(self, name: str) -> None:
        """Remove a gallery's file with all that lies beside it."""
        path = self.location(name)
        assert isinstance(path, Path)
        # The main file last: what is left after a kill is still a gallery, and is found.
        for ending in _BESIDE:
            Path(f"{path}{ending}").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Folder(Places):
    """Every ``*.faceflow`` in a folder."""

    makes_more = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """See :class:`Places`."""
        found = {path.stem for path in self._folder.glob(f"*{SUFFIX}") if path.is_file()}
        return sorted(name for name in found if NAME.fullmatch(name))

    def location(self, name: str) -> Path:
        """See :class:`Places`."""
        return self._folder / f"{name}{SUFFIX}"

    def mark(self, name: str) -> Mark | None:
        """See :class:`Places`."""
        return _file(self.location(name)) if NAME.fullmatch(name) else None

    def without_place(self, text: str) -> str:
        """See :class:`Places`."""
        return text.replace(f"{self._folder}{os.sep}", "")


class OneFile(Places):
    """One gallery file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """See :class:`Places`."""
        return [self._path.stem] if self._path.exists() else []

    def location(self, name: str) -> Path:
        """See :class:`Places`."""
        return self._path

    def mark(self, name: str) -> Mark | None:
        """See :class:`Places`."""
        return _file(self._path) if name == self._path.stem else None

    def without_place(self, text: str) -> str:
        """See :class:`Places`."""
        return text.replace(f"{self._path.parent}{os.sep}", "")


class OneSchema(Places):
    """One gallery in a PostgreSQL server, called like its schema."""

    removes = False
    rows_go = (
        "rows deleted and their tables written anew in the database (VACUUM FULL and a checkpoint)"
    )

    def __init__(self, location: GalleryLocation) -> None:
        self._location = location
        place = server_location(location.secret)
        self._place = place
        self._name = place.schema.lstrip("_")
        if not NAME.fullmatch(self._name):
            raise InputError(f"the schema {place.schema!r} has no letters", todo="rename it")

    def names(self) -> list[str]:
        """See :class:`Places`."""
        return [self._name]

    def location(self, name: str) -> GalleryLocation:
        """See :class:`Places`."""
        return self._location

    def mark(self, name: str) -> Mark | None:
        """See :class:`Places`: the store itself finds out what became of its schema."""
        return (0, 0) if name == self._name else None

    def without_place(self, text: str) -> str:
        """See :class:`Places`."""
        return self._place.without_secrets(text).replace(str(self._location), "the gallery")


def places_of(galleries: Path | GalleryLocation) -> Places:
    """The galleries at what a service was given.

    Raises:
        InputError: the URL of a database that cannot be read.
    """
    if isinstance(galleries, GalleryLocation):
        if not galleries.is_file:
            return OneSchema(galleries)
        galleries = Path(galleries.secret)
    return Folder(galleries) if galleries.is_dir() else OneFile(galleries)


def _file(path: Path) -> Mark | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
