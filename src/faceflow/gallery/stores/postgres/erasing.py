"""Erasing from PostgreSQL: tables that held somebody are written anew.

A deleted row stays in its page until VACUUM, and its bytes stay after that. VACUUM FULL copies what
is alive into new files; a checkpoint removes the old ones. It keeps rows that some transaction,
anywhere in the database, may still want to see, and says how many: then there is nothing for it but
to try again later. The names of tables to be written anew are kept in a table themselves, noted by
the transaction that removed somebody, so that a killed process owes nothing.
"""

from __future__ import annotations

import contextlib
import re
import time

import psycopg
from psycopg import errors, sql

from faceflow.gallery.stores.postgres.connecting import Connection

# How long one attempt waits for readers of a table, while new readers wait behind it.
_ATTEMPT = 0.2
_PAUSE = 0.05


def erase(connection: Connection, schema: str, seconds: float) -> bool:
    """Write every marked table anew; False if somebody kept one from it for ``seconds``.

    Args:
        connection: outside of a transaction.
        schema: the gallery's.
        seconds: how long to try; 0 for once.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = [
            name
            for name, mark in connection.execute("SELECT name, mark FROM dirty").fetchall()
            if not _written_anew(connection, schema, str(name), mark)
        ]
        if not left or time.monotonic() + _PAUSE > deadline:
            break
        time.sleep(_PAUSE)
    # Files of the former tables go with the next checkpoint; where we may, it is now.
    with contextlib.suppress(errors.InsufficientPrivilege):
        connection.execute("CHECKPOINT")
    return not left


def _written_anew(connection: Connection, schema: str, name: str, mark: object) -> bool:
    told: list[str] = []

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        told.append(notice.message_detail or "")

    connection.add_notice_handler(listen)
    try:
        (before,) = connection.execute("SHOW lock_timeout").fetchone() or ("0",)
        connection.execute(
            sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{int(_ATTEMPT * 1000)}ms"))
        )
        try:
            table = sql.Identifier(schema, name)
            connection.execute(sql.SQL("VACUUM (FULL, VERBOSE) {}").format(table))
        except errors.LockNotAvailable:
            return False
        finally:
            connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(before)))
    finally:
        connection.remove_notice_handler(listen)
    # The detail says "N dead row versions cannot be removed yet", in the server's language.
    kept = [int(found.group()) for text in told if (found := re.search(r"\d+", text))]
    if any(kept):
        return False
    connection.execute("DELETE FROM dirty WHERE name = %s AND mark = %s", (name, mark))
    return True


def remains(connection: Connection) -> tuple[str, ...]:
    """Where copies of removed data can still be, as far as the server tells."""
    found = ["the server's write-ahead log, until its segments are used again"]
    (archive,) = connection.execute("SHOW archive_mode").fetchone() or ("off",)
    if archive != "off":
        found.append("the archive of the write-ahead log, and whatever is restored from it")
    (standbys,) = connection.execute("SELECT count(*) FROM pg_stat_replication").fetchone() or (0,)
    if standbys:
        found.append(f"{standbys} standby server(s), until they have replayed the log")
    (slots,) = connection.execute(
        "SELECT count(*) FROM pg_replication_slots WHERE NOT active"
    ).fetchone() or (0,)
    if slots:
        found.append(f"the log kept for {slots} replication slot(s) that nobody reads")
    found.append("backups")
    return tuple(found)
