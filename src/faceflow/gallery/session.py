"""One connection to a gallery file: reading, transactions, erasing, closing; and a pool of them."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from faceflow.errors import GalleryError
from faceflow.gallery import sqlite_file

# Connections kept for later snapshots; more are made while more are needed at once.
_IDLE = 8
# Seconds between two attempts to erase the log.
_LONGEST_PAUSE = 0.05


class Session:
    """Guards a SQLite connection; one thread works at a time."""

    def __init__(self, path: Path, *, readonly: bool, busy_seconds: float) -> None:
        self.path = path
        self.readonly = readonly
        self._lock = threading.RLock()
        self._erase_pending = False
        self._closed = False
        self._busy_ms = int(busy_seconds * 1000)
        opened = sqlite_file.connect(path, readonly=readonly, busy_seconds=busy_seconds)
        self._connection, self._file, self._immutable = opened
        self._opened_state = self._file_state()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, locked for this thread; its errors become GalleryError."""
        with self._lock, sqlite_file.translated(self.path):
            if self._closed:
                raise GalleryError(f"{self.path.name} is closed", todo="open the gallery again")
            yield self._connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or, on any exception, nothing."""
        with self.reading() as connection:
            if self.readonly:
                raise GalleryError(
                    f"{self.path} is open read-only", todo="open it for writing to change it"
                )
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    @contextlib.contextmanager
    def one_state(self) -> Iterator[None]:
        """Reads inside see one state, whatever is written meanwhile."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                # BEGIN alone waits for the first read before it fixes the state.
                connection.execute("SELECT id FROM state").fetchone()
            except BaseException:
                _roll_back(connection)
                raise
        try:
            yield
        finally:
            with self._lock:
                _roll_back(self._connection)

    def erase(self, *, wait: bool = True) -> bool:
        """Fold the log into the file and cut it to nothing; False if a reader holds it.

        Waits for readers by asking again and again: SQLite's own way of waiting would hold the
        lock that other writers need.
        """
        deadline = time.monotonic() + (self._busy_ms / 1000 if wait else 0)
        pause = 0.001
        while self._erase_now():
            if time.monotonic() + pause > deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return not self._erase_pending

    def _erase_now(self) -> bool:
        """Try once; whether it is worth trying again soon."""
        with self.reading() as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            # The change itself is committed; only erasing the log may have to be done later.
            self._erase_pending = True
            try:
                held = bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
                self._erase_pending = held
            except sqlite3.OperationalError as error:
                held = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            finally:
                connection.execute(f"PRAGMA busy_timeout = {self._busy_ms}")
        return held

    def erase_pending(self) -> None:
        """Try again to erase what a reader kept from being erased before; never waits."""
        if self._erase_pending and self._lock.acquire(blocking=False):
            try:
                if not self._closed:
                    self.erase(wait=False)
            finally:
                self._lock.release()

    def usable_bytes(self) -> int:
        """Bytes of a page that SQLite uses."""
        return sqlite_file.usable_bytes(self._file)

    @property
    def stale(self) -> bool:
        """Whether a file opened without locks was changed since."""
        return self._immutable and self._file_state() != self._opened_state

    def require_unchanged(self) -> None:
        """Refuse what was read of a file without locks while another program changed it."""
        if self.stale:
            raise GalleryError(
                f"{self.path} was changed by another program while it was being read",
                why="it lies where this program may not write, so it cannot be locked",
                todo="try again",
            )

    def close(self) -> None:
        """Let go of the file; the last connection folds the log in and removes it."""
        with self._lock:
            if self._closed:
                return
            try:
                with contextlib.suppress(GalleryError):
                    self.erase_pending()
                with sqlite_file.translated(self.path):
                    self._connection.close()
            finally:
                self._closed = True
                self._file.release()

    def _file_state(self) -> tuple[int, int, bool]:
        with sqlite_file.translated(self.path):
            state = self.path.stat()
            return state.st_mtime_ns, state.st_size, sqlite_file.log_exists(self.path)


class Readers:
    """Read-only sessions for snapshots, one for each snapshot at a time."""

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._idle: list[Session] = []
        self._lock = threading.Lock()
        self._users: list[int] = []
        self._closed = False

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A session of the caller's own, whose reads all see one state."""
        session, user = self._take(), threading.get_ident()
        try:
            with session.one_state():
                try:
                    yield session
                finally:
                    # Before any other error: what was half seen may have looked like damage.
                    session.require_unchanged()
        finally:
            self._give_back(session, user)

    @property
    def users(self) -> Sequence[int]:
        """The threads that hold a snapshot now."""
        return self._users

    def close(self) -> None:
        """Close what is idle, and the rest as its snapshots end."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _take(self) -> Session:
        with self._lock:
            if self._closed:
                raise GalleryError(f"{self._path.name} is closed", todo="open the gallery again")
            session = self._idle.pop() if self._idle else None
            self._users.append(threading.get_ident())
        try:
            if session is not None and session.stale:
                stale, session = session, None
                stale.close()
            return session or Session(self._path, readonly=True, busy_seconds=self._busy_seconds)
        except BaseException:
            with self._lock:
                self._users.remove(threading.get_ident())
            raise

    def _give_back(self, session: Session, user: int) -> None:
        with self._lock:
            self._users.remove(user)
            keep = not self._closed and len(self._idle) < _IDLE
            if keep:
                self._idle.append(session)
        if not keep:
            session.close()


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite may have rolled back by itself; a failure to do it twice says nothing beyond the
    # error on its way up.
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
