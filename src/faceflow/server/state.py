"""The service's own memory in one SQLite file: keys, jobs, cases, audit.

As careful as the gallery file: a change is durable once it is acknowledged, whole or not at all,
and what is deleted is overwritten. Several processes may share the file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from faceflow.errors import GalleryError

APPLICATION_ID = 0x66667376  # "ffsv"
VERSION = 1

SCHEMA = (
    "CREATE TABLE key(id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL,"
    " galleries TEXT, hash BLOB NOT NULL, created TEXT NOT NULL, expires TEXT, revoked TEXT)",
    "CREATE TABLE audit(number INTEGER PRIMARY KEY, content TEXT NOT NULL, hash BLOB NOT NULL)",
    "CREATE TABLE setting(name TEXT PRIMARY KEY, content TEXT NOT NULL)",
)
"""Tables of the parts below; jobs, cases and people add theirs in :data:`PARTS`."""

PARTS: list[tuple[str, ...]] = [SCHEMA]
"""Schemas of all parts, in the order they were added; each part appends its own on import."""


class State:
    """One state file, opened by one process; safe to use from several threads.

    Args:
        path: the file; made with mode 0600 when missing.

    Raises:
        GalleryError: not a state file, from a newer version, or not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        with _translated(self.path):
            if not self.path.exists():
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            with self.writing() as connection:
                self._prepare(connection)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if found != APPLICATION_ID and not empty:
            raise GalleryError(
                f"{self.path} is not a service's state file", todo="name another file with --state"
            )
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise GalleryError(
                f"{self.path} was written by a newer faceflow", todo="update faceflow"
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        for part in PARTS:
            for statement in part:
                connection.execute(
                    statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ").replace(
                        "CREATE INDEX ", "CREATE INDEX IF NOT EXISTS "
                    )
                )

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self.path, timeout=10, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "secure_delete = ON",
                "foreign_keys = ON",
                "trusted_schema = OFF",
            ):
                connection.execute(f"PRAGMA {pragma}")
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        return connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread; reads inside see one state."""
        with _translated(self.path):
            connection = self._connection()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable when the block ends well, else as if it had not been."""
        with _translated(self.path):
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def erase(self) -> bool:
        """Fold the log into the file, so that what was deleted is nowhere; False if in use."""
        with _translated(self.path):
            busy = self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise GalleryError(
            f"The service's state file {path} cannot be used",
            why=str(error),
            todo="check the disk, or restore a copy",
        ) from error
    except OSError as error:
        raise GalleryError(
            f"The service's state file {path} cannot be opened", why=str(error.strerror or error)
        ) from error
