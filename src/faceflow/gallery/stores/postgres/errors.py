"""What PostgreSQL's errors mean to the user of a gallery; never with a password."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import psycopg
from psycopg import errors

from faceflow.errors import GalleryError, UnreachableGalleryError
from faceflow.gallery.stores.location import ServerLocation

# What libpq says where the encrypted connection that was asked for cannot be had.
_TLS = re.compile(r"\bSSL\b|certificate|\bTLS\b")


@contextlib.contextmanager
def translated(location: ServerLocation) -> Iterator[None]:
    """Turn errors of the client library into GalleryError with what to do."""
    try:
        yield
    except psycopg.Error as error:
        # Its text may hold the URL it was given, and its cause the text: neither goes on.
        raise server_error(location, error) from None


def server_error(location: ServerLocation, error: psycopg.Error) -> GalleryError:
    """What an error means to the user of a gallery."""
    at = location.shown
    why = location.without_secrets(str(error).strip().partition("\n")[0])
    if isinstance(error, errors.LockNotAvailable | errors.QueryCanceled):
        return GalleryError(
            f"{at} is in use",
            why="another program has been writing to it",
            todo="try again when it has finished",
        )
    if isinstance(error, errors.DiskFull):
        return GalleryError(
            f"{at} cannot grow",
            why="the server's disk is full",
            todo="free some space there and repeat the last step; everything before it is kept",
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return GalleryError(
            f"{at} may not be used like that", why=why, todo="ask the server's operator for rights"
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return GalleryError(
            f"{at} cannot be changed",
            why="the server takes no changes: it is a standby, or set to read-only",
            todo="use the primary server's address",
        )
    if isinstance(error, psycopg.OperationalError) and _TLS.search(str(error)):
        return GalleryError(
            f"{at} cannot show that it is who it should be",
            why=why,
            todo="check the host's name and the certificate that sslrootcert names; a weaker "
            "sslmode would send names and faces to whoever answers",
        )
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName | errors.DataCorrupted):
        return GalleryError(
            f"{at} is damaged",
            why=why,
            todo="restore a backup, or import a former export; or is there a connection pooler "
            "before it that does not keep a session's settings (pool_mode = session does)",
        )
    if isinstance(error, psycopg.OperationalError):
        return UnreachableGalleryError(
            f"{at} cannot be reached, or the connection broke",
            why=why,
            todo="see that the server runs and takes your name and password, and repeat the last "
            "step: what was done already is not done twice",
        )
    return GalleryError(f"{at} cannot be used", why=f"PostgreSQL says: {why}")
