"""One connection to a gallery file: reading, transactions, snapshots, erasing, closing."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from faceflow.errors import GalleryError
from faceflow.gallery import sqlite_file


class Session:
    """Guards a SQLite connection; one thread works at a time."""

    def __init__(self, path: Path, *, readonly: bool, busy_seconds: float) -> None:
        self.path = path
        self.readonly = readonly
        self._lock = threading.RLock()
        self._snapshots = 0
        self._erase_pending = False
        self._closed = False
        self._busy_ms = int(busy_seconds * 1000)
        self._connection, self._immutable = sqlite_file.connect(
            path, readonly=readonly, busy_seconds=busy_seconds
        )
        self._opened_state = self._file_state()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, locked for this thread; its errors become GalleryError."""
        with self._lock:
            if self._closed:
                raise GalleryError(f"{self.path.name} is closed", todo="open the gallery again")
            with sqlite_file.translated(self.path):
                yield self._connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or, on any exception, nothing."""
        with self.reading() as connection:
            if self.readonly:
                raise GalleryError(
                    f"{self.path} is open read-only", todo="open it for writing to change it"
                )
            if self._snapshots:
                raise GalleryError("a gallery cannot be changed inside its snapshot()")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself; a failure to do it twice says nothing
                # beyond the error on its way up.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see one state. May be nested."""
        with self._lock:
            with self.reading() as connection:
                if self._snapshots == 0:
                    connection.execute("BEGIN")
                    # BEGIN alone waits for the first read before it fixes the state.
                    connection.execute("SELECT id FROM state").fetchone()
            self._snapshots += 1
            try:
                yield
            finally:
                self._snapshots -= 1
                if not (self._snapshots or self._closed) and self._connection.in_transaction:
                    self._connection.execute("COMMIT")

    def erase(self, *, wait: bool = True) -> bool:
        """Fold the log into the file and cut it to nothing; False if a reader holds it."""
        with self.reading() as connection:
            if not wait:
                connection.execute("PRAGMA busy_timeout = 0")
            try:
                busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError:
                # The change itself is committed; only erasing the log has to be done later.
                busy = 1
            finally:
                connection.execute(f"PRAGMA busy_timeout = {self._busy_ms}")
            self._erase_pending = bool(busy)
        return not self._erase_pending

    def erase_pending(self) -> None:
        """Try again to erase what a reader kept from being erased before."""
        if self._erase_pending:
            self.erase(wait=False)

    def require_unchanged(self) -> None:
        """Refuse to go on when a file opened without locks was changed under our eyes."""
        if self._immutable and self._file_state() != self._opened_state:
            raise GalleryError(
                f"{self.path} was changed by another program while open without locks",
                why="it lies where this program may not write",
                todo="open it again",
            )

    def close(self) -> None:
        """Let go of the file; the last connection folds the log in and removes it."""
        with self._lock:
            if not self._closed:
                self.erase_pending()
                self._closed = True
                self._connection.close()

    def _file_state(self) -> tuple[int, int, bool]:
        state = self.path.stat()
        return state.st_mtime_ns, state.st_size, sqlite_file.log_exists(self.path)
