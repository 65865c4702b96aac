"""The service's own memory in one SQLite file: keys, jobs, cases, audit.

As careful as the gallery file: a change is durable once it is acknowledged, whole or not at all,
and what is deleted is overwritten. Several processes may share the file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
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

_IDLE = 8
"""Connections kept open while nobody uses them."""

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
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
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

    def _open(self) -> sqlite3.Connection:
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
        return connection

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile; kept for the next one who asks.

        Not one a thread: the threads of a web server come and go, and each would leave its
        connection behind.
        """
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._open()
        self._local.current = connection
        try:
            yield connection
        finally:
            self._local.current = None
            with self._lock:
                if self._closed or len(self._idle) >= _IDLE:
                    connection.close()
                else:
                    self._idle.append(connection)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one thread; reads inside see one state, that of a change around it."""
        current: sqlite3.Connection | None = getattr(self._local, "current", None)
        if current is not None:
            yield current
            return
        with _translated(self.path), self._borrowed() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable when the block ends well, else as if it had not been."""
        with _translated(self.path), self._borrowed() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def secret(self, name: str) -> bytes:
        """32 random bytes of that name, drawn once and kept."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO setting VALUES(?, ?) ON CONFLICT DO NOTHING",
                (f"secret {name}", secrets.token_hex(32)),
            )
            row = connection.execute(
                "SELECT content FROM setting WHERE name = ?", (f"secret {name}",)
            ).fetchone()
        return bytes.fromhex(row[0])

    def erase(self) -> bool:
        """Fold the log into the file, so that what was deleted is nowhere; False if in use."""
        with _translated(self.path), self._borrowed() as connection:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()


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
