"""What SQLite's and the system's errors mean to the user of a gallery."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from faceflow.errors import GalleryError

RESTORE = "restore a copy of the file, or import a former export"


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into GalleryError with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise sqlite_error(path, error) from error
    except OSError as error:
        raise os_error(path, error) from error


@contextlib.contextmanager
def representable(path: Path) -> Iterator[None]:
    """Turn errors of values that SQLite can hold and Python cannot into GalleryError."""
    try:
        yield
    except (OverflowError, UnicodeError) as error:
        raise GalleryError(f"{path} is damaged", why=str(error), todo=RESTORE) from error


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
        sqlite3.SQLITE_INTERRUPT: (
            f"{path} is damaged",
            "reading it takes more steps than a file of its size can need",
            RESTORE,
        ),
        sqlite3.SQLITE_TOOBIG: (f"{path} is damaged", "a value in it is too large", RESTORE),
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
        errno.ENAMETOOLONG: "choose a shorter name",
        errno.ELOOP: "check where the links on the way lead",
        errno.EROFS: "choose a folder that can be written to",
    }.get(error.errno or 0, "check the disk and the path")
    return GalleryError(
        f"{path} cannot be read or written", why=error.strerror or str(error), todo=todo
    )
