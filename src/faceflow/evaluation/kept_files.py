"""SQLite files of what evaluation has computed and keeps: opened, and refused, in one way."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from faceflow.errors import FaceflowError


@contextlib.contextmanager
def opened(path: Path, what: str) -> Iterator[sqlite3.Connection]:
    """A connection for one piece of work; the file and its folder are made where there are none.

    Args:
        path: the file.
        what: what it holds, for errors.

    Raises:
        FaceflowError: it cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as file:
            file.execute("PRAGMA synchronous=NORMAL")
            yield file
    except sqlite3.DatabaseError as error:
        raise unusable(path, what, str(error)) from error


def unusable(path: Path, what: str, why: str) -> FaceflowError:
    """The error of a kept file that cannot be used."""
    return FaceflowError(
        f"The {what} in {path} cannot be used",
        why=why,
        todo="delete the file (they are computed again), free the disk, or choose another folder",
    )
