"""One door to all stores: a location says which one it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from faceflow.errors import GalleryError
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.stores.location import is_url
from faceflow.gallery.stores.sqlite.store import SqliteStore
from faceflow.gallery.stores.store import Store

if TYPE_CHECKING:
    from faceflow.gallery.stores.postgres.store import PostgresStore

Location = str | Path
"""A file's path, or ``postgresql://...`` as :mod:`.location` takes it apart."""


def open_store(location: Location, *, readonly: bool = False, busy_seconds: float = 5.0) -> Store:
    """Open the store at a location. Errors as in :meth:`faceflow.gallery.Gallery.open`."""
    if is_url(location):
        return _postgres()(str(location), readonly=readonly, busy_seconds=busy_seconds)
    return SqliteStore(Path(location), readonly=readonly, busy_seconds=busy_seconds)


def create_store(location: Location, header: GalleryHeader) -> None:
    """Make an empty store at a location that has none."""
    if is_url(location):
        _postgres().create(str(location), header)
    else:
        SqliteStore.create(Path(location), header)


def new_store(location: Location, header: GalleryHeader) -> AbstractContextManager[Store]:
    """A store to be filled, which is there whole after the block, or not at all."""
    if is_url(location):
        return _postgres().making(str(location), header)
    return SqliteStore.making(Path(location), header)


def store_exists(location: Location) -> bool:
    """Whether there is something at a location."""
    return (
        _postgres().exists(str(location))
        if is_url(location)
        else SqliteStore.exists(Path(location))
    )


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
