"""The gallery's SQLite file: its schema, how it is created and opened, what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from faceflow.errors import GalleryError
from faceflow.gallery.held_file import HeldFile, hold

APPLICATION_ID = 0x66666C77  # "fflw"
SCHEMA_VERSION = 1
MAGIC = b"SQLite format 3\0"

# person holds ids only, so that the tables with names and hashes need no foreign keys: a
# DELETE of a whole table without any frees (and zeroes) every page of it.
SCHEMA = (
    "CREATE TABLE header(id INTEGER PRIMARY KEY CHECK(id = 1), content BLOB NOT NULL)",
    "CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 1), last_face_id INTEGER NOT NULL,"
    " last_person_id INTEGER NOT NULL, removals INTEGER NOT NULL)",
    "CREATE TABLE setting(name TEXT PRIMARY KEY, content BLOB NOT NULL)",
    "CREATE TABLE person(person_id INTEGER PRIMARY KEY)",
    "CREATE TABLE person_name(person_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " seal INTEGER NOT NULL)",
    "CREATE TABLE face(face_id INTEGER PRIMARY KEY,"
    " person_id INTEGER NOT NULL REFERENCES person(person_id),"
    " opening BLOB NOT NULL, record BLOB NOT NULL, embedding BLOB NOT NULL,"
    " patches BLOB NOT NULL, thumbnail BLOB, closing BLOB NOT NULL)",
    "CREATE INDEX face_of_person ON face(person_id)",
    "CREATE TABLE photo(content_hash BLOB NOT NULL, person_id INTEGER NOT NULL,"
    " face_id INTEGER NOT NULL, PRIMARY KEY(content_hash, person_id)) WITHOUT ROWID",
)
"""The face table's columns follow :mod:`faceflow.gallery.layout`."""

# What systems say where there are no hard links (FAT, some network drives).
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

RESTORE = "restore a copy of the file, or import a former export"


def create_file(path: Path, page_size: int, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make a gallery file that is there whole or not at all.

    It is built under a temporary name, closed, synced, and linked to its own name, which
    fails when that name is taken.

    Args:
        path: the file to make.
        page_size: SQLite's page size in bytes.
        fill: writes the first rows; runs inside one transaction.
    """
    refuse_taken(path)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex}.new"
    try:
        with translated(path):
            connection = sqlite3.connect(partial, isolation_level=None)
            try:
                connection.execute(f"PRAGMA page_size = {page_size}")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                for statement in SCHEMA:
                    connection.execute(statement)
                fill(connection)
                connection.execute("COMMIT")
            finally:
                connection.close()
        publish(partial, path)
    finally:
        remove_file(partial)


def publish(partial: Path, path: Path) -> None:
    """Give a finished file its name, never over another file, and make both durable."""
    try:
        sync(partial)
        try:
            os.link(partial, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # A rename is as whole, it only cannot refuse a name taken in the same instant.
            refuse_taken(path)
            partial.rename(path)
        sync(path.parent)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise os_error(path, error) from error


def sync(path: Path) -> None:
    """Flush a file or folder to the disk; a no-op for folders where the system has none."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Opened(NamedTuple):
    """A connection, the file behind it, and whether it was opened without locks.

    That is so where this process may not write and nobody has the file open. The connection is
    to be closed before the file is released.
    """

    connection: sqlite3.Connection
    file: HeldFile
    immutable: bool


def connect(path: Path, *, readonly: bool, busy_seconds: float) -> Opened:
    """Open a gallery file after looking at what it is.

    Raises:
        GalleryError: missing, empty, cut short, not a gallery, damaged, written by a newer
            version, or not writable although ``readonly`` is False.
    """
    file = _hold(path)
    try:
        _look_at(path, file)
        connection, immutable = _connect(path, readonly=readonly, busy_seconds=busy_seconds)
    except BaseException:
        file.release()
        raise
    return Opened(connection, file, immutable)


def _connect(path: Path, *, readonly: bool, busy_seconds: float) -> tuple[sqlite3.Connection, bool]:
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    if not readonly and not writable:
        raise GalleryError(
            f"{path} cannot be changed",
            why="the file or its folder is read-only for this user",
            todo="open it read-only, or copy it to a folder you may write to",
        )
    # A read-only SQLite connection could not remove its log at closing, so where it is
    # possible readers connect for writing and promise not to.
    mode = "mode=rw" if writable else "mode=ro"
    immutable = not writable and not _log(path).exists()
    if immutable:
        mode += "&immutable=1"
    with translated(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}",
            uri=True,
            timeout=busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _check(path, connection)
            # An acknowledged batch survives kill -9 in any mode, because the log is written
            # before COMMIT returns; FULL syncs it too, so that it survives a power cut. One
            # sync per batch costs nothing beside computing the features of the batch.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            # Copies of rows must not go to a temporary file on disk.
            connection.execute("PRAGMA temp_store = MEMORY")
            if readonly:
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
    return connection, immutable


def usable_bytes(file: HeldFile) -> int:
    """Page size minus the bytes reserved at the end of each page, from the file's header."""
    head = file.read(0, 21)
    return _page_size(head) - head[20]


def _page_size(head: bytes) -> int:
    size = int.from_bytes(head[16:18], "big")
    return 65536 if size == 1 else size


def total_bytes(path: Path) -> int:
    """Bytes of the file and of its log."""
    return sum(p.stat().st_size for p in (path, _log(path)) if p.exists())


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into GalleryError with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise sqlite_error(path, error) from error
    except OSError as error:
        raise os_error(path, error) from error


def sqlite_error(path: Path, error: sqlite3.Error) -> GalleryError:
    """What a SQLite error means to the user of a gallery."""
    # An error without a code comes from Python's module: text in the file is not UTF-8.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    what, why, todo = {
        sqlite3.SQLITE_BUSY: (
            f"{path} is in use",
            "another program has been writing to it",
            "try again when it has finished",
        ),
        sqlite3.SQLITE_FULL: (
            f"{path} cannot grow",
            "the disk is full",
            "free some space and repeat the last step; everything before it is kept",
        ),
        sqlite3.SQLITE_READONLY: (
            f"{path} cannot be changed",
            "it is open read-only, or the file may not be written",
            "open it for writing",
        ),
        sqlite3.SQLITE_IOERR: (
            f"{path} could not be read or written",
            f"the disk is full, limited or failing ({error})",
            "check the disk and repeat the last step; everything before it is kept",
        ),
        sqlite3.SQLITE_CANTOPEN: (
            f"{path} cannot be opened",
            "the file or its folder may not be read or written",
            "check the permissions",
        ),
        sqlite3.SQLITE_CORRUPT: (f"{path} is damaged", str(error), RESTORE),
        sqlite3.SQLITE_CONSTRAINT: (f"{path} is damaged", str(error), RESTORE),
        sqlite3.SQLITE_NOTADB: (
            f"{path} is not a gallery",
            "it is not a SQLite file, or its first bytes are damaged",
            RESTORE,
        ),
    }.get(code, (f"{path} cannot be used", f"SQLite says: {error}", RESTORE))
    return GalleryError(what, why=why, todo=todo)


def os_error(path: Path, error: OSError) -> GalleryError:
    """What an operating system error means to the user of a gallery."""
    todo = {
        errno.ENOSPC: "free some space; everything enrolled before is kept",
        errno.EACCES: "check the permissions of the file and its folder",
        errno.EPERM: "check the permissions of the file and its folder",
        errno.EROFS: "choose a folder that can be written to",
    }.get(error.errno or 0, "check the disk and the path")
    return GalleryError(
        f"{path} cannot be read or written", why=error.strerror or str(error), todo=todo
    )


def _hold(path: Path) -> HeldFile:
    try:
        return hold(path)
    except FileNotFoundError as error:
        raise GalleryError(
            f"there is no gallery {path}", todo="check the path, or create one by enrolling photos"
        ) from error
    except OSError as error:
        raise os_error(path, error) from error


def _look_at(path: Path, file: HeldFile) -> None:
    """Refuse what is plainly no gallery before SQLite would create or repair anything."""
    with translated(path):
        head, size = file.read(0, 100), file.size()
        logged = log_exists(path) and _log(path).stat().st_size > 0
    if not head:
        raise GalleryError(
            f"{path} is not a gallery", why="the file is empty", todo=f"{RESTORE}, or delete it"
        )
    if head[:16] != MAGIC:
        raise GalleryError(
            f"{path} is not a gallery",
            why="it is another kind of file, or its first bytes are damaged",
            todo=f"check the path, or {RESTORE}",
        )
    # Pages that are still in the log only may lie beyond the end of the file.
    expected = int.from_bytes(head[28:32], "big") * _page_size(head)
    if size < expected and not logged:
        raise GalleryError(f"{path} is cut short: {size} of {expected} bytes", todo=RESTORE)


def _check(path: Path, connection: sqlite3.Connection) -> None:
    def pragma(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    if pragma("application_id") != APPLICATION_ID:
        raise GalleryError(
            f"{path} is not a gallery", why="it is the database of another program, or damaged"
        )
    version = pragma("user_version")
    if version > SCHEMA_VERSION:
        raise GalleryError(
            f"{path} was written by a newer faceflow (format {version}, known: {SCHEMA_VERSION})",
            todo="upgrade faceflow",
        )
    # Also a guard: a crafted file could carry triggers that run when faces are written.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    if sorted(row[0] for row in rows) != sorted(SCHEMA) or version != SCHEMA_VERSION:
        raise GalleryError(f"{path} is damaged: its tables are not a gallery's", todo=RESTORE)


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def remove_file(path: Path) -> None:
    """Remove a file that was being built, with what SQLite keeps beside it."""
    for leftover in (path, _log(path), path.with_name(path.name + "-shm")):
        leftover.unlink(missing_ok=True)


def log_exists(path: Path) -> bool:
    """Whether SQLite's log file lies beside the gallery."""
    return _log(path).exists()


def refuse_taken(path: Path) -> None:
    """Raise GalleryError if a gallery cannot be made under this name."""
    with translated(path):
        taken = path.exists() or path.is_symlink()
    if taken:
        raise _taken(path)
    if not path.parent.is_dir():
        raise GalleryError(
            f"cannot create {path}: there is no folder {path.parent}", todo="create the folder"
        )
    if log_exists(path):
        # SQLite would replay the old gallery's log into the new file.
        raise GalleryError(
            f"cannot create {path}: {_log(path).name} is left of another gallery of that name",
            todo="move that file back beside its gallery, or delete it if the gallery is gone",
        )


def _taken(path: Path) -> GalleryError:
    return GalleryError(
        f"cannot create {path}: it exists already", todo="open it, or choose another name"
    )
