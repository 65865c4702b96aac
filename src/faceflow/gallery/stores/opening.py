"""One door to all stores: a location says which one it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from faceflow.errors import GalleryError
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.stores.location import is_url, shown_location
from faceflow.gallery.stores.sqlite.store import SqliteStore
from faceflow.gallery.stores.store import Store

if TYPE_CHECKING:
    from faceflow.gallery.stores.postgres.store import PostgresStore


class GalleryLocation:
    """Where a gallery is or will be, from what a user wrote; as text it never shows a password."""

    def __init__(self, text: str | Path) -> None:
        """Take a path or a URL.

        Raises:
            InputError: a URL that cannot be read.
        """
        self._text = text
        self._shown = shown_location(text)

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"GalleryLocation({self._shown!r})"

    def exists(self) -> bool:
        """Whether there is a gallery, or for a path anything of that name."""
        return store_exists(self)

    @property
    def is_file(self) -> bool:
        """Whether it is a path, and no server's URL."""
        return not is_url(self._text)

    @property
    def secret(self) -> str:
        """All of it, to connect with and for nothing else."""
        return str(self._text)


Location = str | Path | GalleryLocation
"""A file's path, or ``postgresql://...`` as :mod:`.location` takes it apart."""


def open_store(location: Location, *, readonly: bool = False, busy_seconds: float = 5.0) -> Store:
    """Open the store at a location. Errors as in :meth:`faceflow.gallery.Gallery.open`."""
    at = _as_given(location)
    if is_url(at):
        return _postgres()(str(at), readonly=readonly, busy_seconds=busy_seconds)
    return SqliteStore(Path(at), readonly=readonly, busy_seconds=busy_seconds)


def create_store(location: Location, header: GalleryHeader) -> None:
    """Make an empty store at a location that has none."""
    at = _as_given(location)
    if is_url(at):
        _postgres().create(str(at), header)
    else:
        SqliteStore.create(Path(at), header)


def new_store(location: Location, header: GalleryHeader) -> AbstractContextManager[Store]:
    """A store to be filled, which is there whole after the block, or not at all."""
    at = _as_given(location)
    if is_url(at):
        return _postgres().making(str(at), header)
    return SqliteStore.making(Path(at), header)


def store_exists(location: Location) -> bool:
    """Whether there is something at a location."""
    at = _as_given(location)
    return _postgres().exists(str(at)) if is_url(at) else SqliteStore.exists(Path(at))


def _as_given(location: Location) -> str | Path:
    return location.secret if isinstance(location, GalleryLocation) else location


def _postgres() -> type[PostgresStore]:
    try:
        import psycopg
    except ImportError as error:
        raise GalleryError(
            "a gallery in PostgreSQL needs the package psycopg, which is not installed",
            todo="pip install 'faceflow[postgres]'",
        ) from error
    del psycopg
    from faceflow.gallery.stores.postgres.store import PostgresStore

    return PostgresStore
