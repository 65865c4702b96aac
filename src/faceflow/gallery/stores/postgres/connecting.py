"""Connections to the server: how each is set up, and a pool of those that read."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psycopg
from psycopg import sql

from faceflow.errors import GalleryError
from faceflow.gallery.stores.location import ServerLocation
from faceflow.gallery.stores.postgres.errors import translated

Connection = psycopg.Connection[tuple[object, ...]]

# Connections kept for later snapshots; more are made while more are needed at once.
_IDLE = 8
# Seconds to wait for a server that does not answer.
_PATIENCE = 10


def connect(location: ServerLocation, *, readonly: bool, busy_seconds: float) -> Connection:
    """Connect, with nothing found but PostgreSQL's own functions and the gallery's tables.

    Args:
        location: which server and schema.
        readonly: refuse changes.
        busy_seconds: how long to wait for a lock.

    Raises:
        GalleryError: no server there, or it does not let us in.
    """
    with translated(location):
        connection = psycopg.connect(
            location.conninfo,
            autocommit=True,
            connect_timeout=_PATIENCE,
            fallback_application_name="faceflow",
        )
    try:
        with translated(location):
            if connection.info.encoding != "utf-8":
                connection.execute("SET client_encoding = 'UTF8'")
            path = sql.SQL("SET search_path = pg_catalog, {}, pg_temp").format(
                sql.Identifier(location.schema)
            )
            connection.execute(path)
            connection.execute(
                sql.SQL("SET lock_timeout = {}").format(
                    sql.Literal(f"{int(busy_seconds * 1000)}ms")
                )
            )
            connection.execute("SET bytea_output = 'hex'")
            if readonly:
                connection.execute("SET default_transaction_read_only = on")
            else:
                # What is acknowledged must be durable. Stricter settings (remote_apply) stay.
                row = connection.execute("SHOW synchronous_commit").fetchone()
                if row == ("off",):
                    connection.execute("SET synchronous_commit = on")
    except BaseException:
        connection.close()
        raise
    return connection


class Readers:
    """Connections for snapshots, one for each snapshot at a time."""

    def __init__(self, location: ServerLocation, *, busy_seconds: float) -> None:
        self._location = location
        self._busy_seconds = busy_seconds
        self._idle: list[Connection] = []
        self._users: list[int] = []
        self._lock = threading.Lock()
        self._closed = False

    @property
    def users(self) -> list[int]:
        """The threads that hold a snapshot now."""
        return self._users

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection of the caller's own, in a transaction that sees one state."""
        connection = self._take()
        user = threading.get_ident()
        self._users.append(user)
        try:
            with translated(self._location):
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            self._users.remove(user)
            self._give_back(connection)

    def close(self) -> None:
        """Close what is idle, and the rest as its snapshots end."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def require_open(self) -> None:
        """Raise GalleryError after :meth:`close`."""
        if self._closed:
            raise GalleryError(f"{self._location.shown} is closed", todo="open the gallery again")

    def _take(self) -> Connection:
        self.require_open()
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return connect(self._location, readonly=True, busy_seconds=self._busy_seconds)
            # It may have died with the server since; one round trip tells.
            with contextlib.suppress(psycopg.Error):
                connection.execute("SELECT 1")
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            keep = not self._closed and len(self._idle) < _IDLE and not connection.broken
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
