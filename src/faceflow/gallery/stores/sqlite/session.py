"""One connection to a gallery file: reading, transactions, erasing, closing; and a pool of them."""

from __future__ import annotations

import contextlib
import ctypes
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from faceflow.errors import GalleryError
from faceflow.gallery.stores.sqlite import file as sqlite_file
from faceflow.gallery.stores.sqlite import lineage, paths, schema
from faceflow.gallery.stores.sqlite.errors import representable, translated
from faceflow.gallery.stores.sqlite.held_file import identity
from faceflow.gallery.stores.sqlite.lineage import Watch

# Connections kept for later snapshots; more are made while more are needed at once.
_IDLE = 8
# Seconds between two attempts to erase the log.
_LONGEST_PAUSE = 0.05
# Steps of SQLite's machine between two looks at whether a statement should have ended by now.
# Reading a face takes some 30, none is smaller than half a kilobyte; a crafted file asks for ever.
_STEPS = 1_000_000
_STEPS_PER_BYTE = 10
_LEAST_ALLOWANCE = 50 * _STEPS


class Session:
    """Guards a SQLite connection; one thread works at a time."""

    def __init__(self, path: Path, *, readonly: bool, busy_seconds: float) -> None:
        self.path = path
        self.readonly = readonly
        self._lock = threading.RLock()
        self._erase_pending = False
        self._closed = False
        self._lost = False
        self._busy_ms = int(busy_seconds * 1000)
        opened = sqlite_file.connect(path, readonly=readonly, busy_seconds=busy_seconds)
        self._connection, self._file, self._immutable = opened
        self._opened_state = self._file_state()
        self._beside = self._neighbours()
        self._watch = Watch(path, paths.log_of(path), self._file, sqlite_file.page_size(self._file))
        self._steps = 0
        self._connection.set_progress_handler(self._endless, _STEPS)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, locked for this thread; its errors become GalleryError."""
        with self._lock, translated(self.path), representable(self.path):
            if self._closed:
                raise GalleryError(f"{self.path.name} is closed", todo="open the gallery again")
            self._steps = 0
            yield self._connection

    def _endless(self) -> bool:
        """Whether a statement has taken more steps than a file of this size has use for."""
        self._steps += _STEPS
        return self._steps > _LEAST_ALLOWANCE + _STEPS_PER_BYTE * sqlite_file.total_bytes(self.path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or, on any exception, nothing."""
        with self.reading() as connection:
            if self.readonly:
                raise GalleryError(
                    f"{self.path} is open read-only", todo="open it for writing to change it"
                )
            self.require_in_place()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._watch.require_same_content(connection)
                yield connection
                lineage.advance(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
            # Nothing may be acknowledged that went to a file nobody will find.
            self.require_in_place()

    @contextlib.contextmanager
    def one_state(self) -> Iterator[None]:
        """Reads inside see one state, whatever is written meanwhile."""
        with self.reading() as connection:
            self.require_in_place()
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

    def upgrade(self) -> None:
        """Bring a gallery of a former format to the present one."""
        with self.reading() as connection:
            if schema.version(connection) == schema.VERSION:
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                schema.upgrade(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
        self.erase(wait=False)

    def require_in_place(self) -> None:
        """Refuse to go on when the file or its log was removed or replaced under our hands.

        Raises:
            GalleryError: it was.
        """
        if self._in_place():
            return
        self._lost = True
        raise GalleryError(
            f"{self.path} or its log was replaced or removed while it was open",
            why="another program did it; what is written now would go to a file that nobody finds",
            todo="close everything that uses the gallery, open it again and repeat the last step",
        )

    def _in_place(self) -> bool:
        try:
            return (
                not self._lost
                and identity(self.path) == self._file.identity
                and (self._immutable or self._neighbours() == self._beside)
            )
        except (OSError, GalleryError):
            return False

    def _neighbours(self) -> list[tuple[int, int] | None]:
        return [
            _identity(path) for path in (paths.log_of(self.path), paths.shared_memory_of(self.path))
        ]

    def close(self) -> None:
        """Let go of the file; the last connection folds the log in and removes it."""
        with self._lock:
            if self._closed:
                return
            if not self._in_place():
                # SQLite would remove the log by its name, and it may be another gallery's by now.
                self._closed = True
                _never_close(self._connection)
                return
            try:
                with contextlib.suppress(GalleryError):
                    self.erase_pending()
                with translated(self.path):
                    self._connection.close()
            finally:
                self._closed = True
                self._file.release()

    def _file_state(self) -> tuple[int, int, bool]:
        with translated(self.path):
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

    def require_open(self) -> None:
        """Raise GalleryError after :meth:`close`."""
        if self._closed:
            raise GalleryError(f"{self._path.name} is closed", todo="open the gallery again")

    def _take(self) -> Session:
        with self._lock:
            self.require_open()
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


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        return identity(path)
    except OSError:
        return None


def _never_close(connection: sqlite3.Connection) -> None:
    """Keep a connection until the process ends, then let it end with the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite may have rolled back by itself; a failure to do it twice says nothing beyond the
    # error on its way up.
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
