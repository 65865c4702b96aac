"""The tables of a gallery file, and what is allowed to a file that a stranger may have made.

A SQLite file is a program, too: views, triggers and expressions in its schema run when it is used.
Nothing is asked of a file before its schema was found to be a gallery's, word for word.
"""

from __future__ import annotations

import functools
import sqlite3
from pathlib import Path

from faceflow.errors import GalleryError
from faceflow.gallery.stores.sqlite import lineage
from faceflow.gallery.stores.sqlite.errors import RESTORE

APPLICATION_ID = 0x66666C77  # "fflw"
VERSION = 2

LARGEST_VALUE = 64 * 2**20
"""Bytes of the largest face that a gallery takes, with all that is kept of it."""

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
"""Of version 1; version 2 adds :data:`faceflow.gallery.stores.sqlite.lineage.TABLE`.

The face table's columns follow :mod:`faceflow.gallery.stores.sqlite.layout`.
"""

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: LARGEST_VALUE,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 1024,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


def create(connection: sqlite3.Connection) -> None:
    """Make all tables, inside a transaction."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    for statement in SCHEMA:
        connection.execute(statement)
    lineage.begin(connection)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a gallery of version 1 to this one, inside a transaction."""
    if version(connection) == 1:
        lineage.begin(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def version(connection: sqlite3.Connection) -> int:
    """The format of the file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def confine(connection: sqlite3.Connection) -> None:
    """Forbid a file whatever a gallery does not need; before anything is read of it."""
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    if hasattr(connection, "setconfig"):  # from Python 3.12 on
        for name, value in {
            "DEFENSIVE": True,
            "ENABLE_LOAD_EXTENSION": False,
            "ENABLE_TRIGGER": False,
            "ENABLE_VIEW": False,
            "TRUSTED_SCHEMA": False,
            "WRITABLE_SCHEMA": False,
        }.items():
            connection.setconfig(getattr(sqlite3, f"SQLITE_DBCONFIG_{name}"), value)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def require_gallery(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse everything but a gallery of a known version with exactly its tables.

    Raises:
        GalleryError: another program's database, a newer format, other tables.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise GalleryError(
            f"{path} is not a gallery", why="it is the database of another program, or damaged"
        )
    found = version(connection)
    if found > VERSION:
        raise GalleryError(
            f"{path} was written by a newer faceflow (format {found}, known: {VERSION})",
            todo="upgrade faceflow",
        )
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql, rootpage FROM sqlite_schema"
    ).fetchmany(100)
    # Two tables in one place would be read as each other.
    roots = {row[4] for row in rows if isinstance(row[4], int) and row[4] > 1}
    if found < 1 or {row[:4] for row in rows} != _tables(found) or len(roots) != len(rows):
        raise GalleryError(f"{path} is damaged: its tables are not a gallery's", todo=RESTORE)


@functools.cache
def _tables(version: int) -> frozenset[tuple[str, str, str, str | None]]:
    """What SQLite writes down of the tables of a version."""
    connection = sqlite3.connect(":memory:")
    try:
        for statement in (*SCHEMA, lineage.TABLE) if version > 1 else SCHEMA:
            connection.execute(statement)
        return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))
    finally:
        connection.close()
