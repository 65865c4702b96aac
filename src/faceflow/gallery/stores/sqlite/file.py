"""The gallery's SQLite file: how it is created and opened."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from faceflow.errors import GalleryError
from faceflow.gallery.stores.sqlite import lineage, paths, schema
from faceflow.gallery.stores.sqlite.errors import RESTORE, os_error, translated
from faceflow.gallery.stores.sqlite.held_file import HeldFile, hold, identity
from faceflow.gallery.workplace import sweep, workplace

MAGIC = b"SQLite format 3\0"

# What systems say where there are no hard links (FAT, some network drives).
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def create_file(path: Path, page_size: int, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make a gallery file that is there whole or not at all.

    It is built in a hidden folder, closed, synced, and linked to its own name, which fails when
    that name is taken.

    Args:
        path: the file to make, see :func:`faceflow.gallery.stores.sqlite.paths.new_path`.
        page_size: SQLite's page size in bytes.
        fill: writes the first rows; runs inside one transaction.
    """
    with translated(path), workplace(path) as place:
        build(place.file("gallery"), page_size, fill)
        publish(place.file("gallery"), path)


def build(path: Path, page_size: int, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make an empty gallery in a folder that nobody else looks into."""
    with translated(path):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size = {page_size}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            schema.create(connection)
            fill(connection)
            connection.execute("COMMIT")
        finally:
            connection.close()


def publish(partial: Path, path: Path) -> None:
    """Give a finished file its name, never over another file, and make both durable."""
    try:
        sync(partial)
        try:
            os.link(partial, path)
            partial.unlink()
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # A rename is as whole, it only cannot refuse a name taken in the same instant.
            if os.path.lexists(path):
                raise paths.already_taken(path) from error
            partial.rename(path)
        sync(path.parent)
    except FileExistsError as error:
        raise paths.already_taken(path) from error
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

    Args:
        path: followed to its end, see :func:`faceflow.gallery.stores.sqlite.paths.real_path`.
        readonly: make no changes.
        busy_seconds: how long SQLite waits for others.

    Raises:
        GalleryError: missing, empty, cut short, not a gallery, damaged, written by a newer
            version, its log belongs to another file, or not writable although ``readonly`` is
            False.
    """
    paths.require_safe_neighbours(path)
    file = _hold(path)
    try:
        with translated(path):
            _look_at(path, file)
            lineage.require_own_log(path, paths.log_of(path), file, page_size(file))
            connection, immutable = _connect(path, readonly=readonly, busy_seconds=busy_seconds)
            try:
                if identity(path) != file.identity:
                    raise GalleryError(
                        f"{path} was replaced while it was being opened", todo="try again"
                    )
            except BaseException:
                connection.close()
                raise
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
    immutable = not writable and not log_exists(path)
    if immutable:
        mode += "&immutable=1"
    connection = sqlite3.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        schema.confine(connection)
        schema.require_gallery(path, connection)
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


def page_size(file: HeldFile) -> int:
    """Bytes of a page, from the file's header."""
    return _page_size(file.read(0, 18))


def usable_bytes(file: HeldFile) -> int:
    """Page size minus the bytes reserved at the end of each page, from the file's header."""
    return page_size(file) - file.read(20, 1)[0]


def _page_size(head: bytes) -> int:
    size = int.from_bytes(head[16:18], "big")
    return 65536 if size == 1 else size


def total_bytes(path: Path) -> int:
    """Bytes of the file and of its log."""
    with translated(path):
        log = paths.log_of(path)
        return path.stat().st_size + (log.stat().st_size if log_exists(path) else 0)


def _hold(path: Path) -> HeldFile:
    sweep(path.parent)
    try:
        file = hold(path)
    except FileNotFoundError as error:
        raise GalleryError(
            f"there is no gallery {path}", todo="check the path, or create one by enrolling photos"
        ) from error
    except OSError as error:
        raise os_error(path, error) from error
    for _ in range(5):
        if file.names() < 2:
            return file
        time.sleep(0.01)  # in the moment of its making a gallery has a second name
    file.release()
    raise GalleryError(
        f"{path} has another name too (a hard link)",
        why="whoever uses the gallery under the other name has its log there, so that faces "
        "would be missing here",
        todo="remove the other name, or make a real copy",
    )


def _look_at(path: Path, file: HeldFile) -> None:
    """Refuse what is plainly no gallery before SQLite would create or repair anything."""
    head, size = file.read(0, 100), file.size()
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
    logged = log_exists(path) and paths.log_of(path).stat().st_size > 0
    expected = int.from_bytes(head[28:32], "big") * _page_size(head)
    if size < expected and not logged:
        raise GalleryError(f"{path} is cut short: {size} of {expected} bytes", todo=RESTORE)


def log_exists(path: Path) -> bool:
    """Whether SQLite's log file lies beside the gallery."""
    return paths.log_of(path).exists()
