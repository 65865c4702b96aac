"""Who did what, when: an append-only log in which every entry holds the hash of the one before.

An entry names ids, digests and revisions, never images, vectors or secrets. Changing or removing
an entry breaks the chain, which :func:`verify` finds; cutting entries off the end is found by
comparing with a head that was noted elsewhere (every export and certificate carries one).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from faceflow.errors import GalleryError
from faceflow.server.state import State

GENESIS = hashlib.sha256(b"faceflow audit 1").digest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        number: from 1, without gaps.
        time: UTC, ISO 8601.
        actor: the key's id, or "service".
        action: e.g. "search", "enroll", "remove person", "decide".
        gallery: its name, or "".
        subjects: ids of what was acted on.
        details: digests, counts, revisions.
        hash: hex, over this entry and the hash before.
    """

    number: int
    time: str
    actor: str
    action: str
    gallery: str
    subjects: tuple[str, ...]
    details: dict[str, Any]
    hash: str


class Audit:
    """The log of a service."""

    def __init__(self, state: State) -> None:
        self._state = state

    def append(
        self,
        actor: str,
        action: str,
        *,
        gallery: str = "",
        subjects: tuple[str, ...] = (),
        connection: sqlite3.Connection | None = None,
        **details: Any,
    ) -> None:
        """Add an entry; inside the caller's transaction where its ``connection`` is given."""
        content = json.dumps(
            {
                "time": datetime.now(UTC).isoformat(),
                "actor": actor,
                "action": action,
                "gallery": gallery,
                "subjects": list(subjects),
                "details": details,
            },
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        )
        if connection is not None:
            _append(connection, content)
            return
        with self._state.writing() as own:
            _append(own, content)

    def entries(
        self, after: int = 0, limit: int = 100, *, galleries: Sequence[str] | None = None
    ) -> list[Entry]:
        """Entries with a number above ``after``, at most ``limit``; None: of all galleries."""
        wanted = None if galleries is None else json.dumps(list(galleries))
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT number, content, hash FROM audit WHERE number > ?1 AND (?3 IS NULL OR"
                " json_extract(content, '$.gallery') IN (SELECT value FROM json_each(?3)))"
                " ORDER BY number LIMIT ?2",
                (after, limit, wanted),
            ).fetchall()
        return [_entry(*row) for row in rows]

    def newest(
        self,
        before: int | None = None,
        limit: int = 100,
        *,
        galleries: Sequence[str] | None = None,
    ) -> list[Entry]:
        """Entries with a number below ``before``, the newest first; as :meth:`entries` else."""
        wanted = None if galleries is None else json.dumps(list(galleries))
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT number, content, hash FROM audit WHERE (?1 IS NULL OR number < ?1)"
                " AND (?3 IS NULL OR"
                " json_extract(content, '$.gallery') IN (SELECT value FROM json_each(?3)))"
                " ORDER BY number DESC LIMIT ?2",
                (before, limit, wanted),
            ).fetchall()
        return [_entry(*row) for row in rows]

    def head(self) -> tuple[int, str]:
        """Number and hash of the last entry."""
        with self._state.reading() as connection:
            number, value = _head(connection)
        return number, value.hex()


def verify(state: State) -> tuple[int, str]:
    """Read the whole log and check every link.

    Returns:
        Number and hash of the last entry, to compare with one noted elsewhere.

    Raises:
        GalleryError: an entry was changed, removed or put in; the message names the first.
    """
    value, expected = GENESIS, 1
    with state.reading() as connection:
        for number, content, kept in connection.execute(
            "SELECT number, content, hash FROM audit ORDER BY number"
        ):
            value = _link(value, number, content)
            if number != expected or value != bytes(kept):
                raise GalleryError(
                    f"The audit log of {state.path.name} does not hold at entry {expected}",
                    why="an entry was changed, removed or put in",
                    todo="compare it with a copy of the file",
                )
            expected += 1
    return expected - 1, value.hex()


def _append(connection: sqlite3.Connection, content: str) -> None:
    number, value = _head(connection)
    connection.execute(
        "INSERT INTO audit VALUES(?, ?, ?)",
        (number + 1, content, _link(value, number + 1, content)),
    )


def _head(connection: sqlite3.Connection) -> tuple[int, bytes]:
    row = connection.execute(
        "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return (0, GENESIS) if row is None else (int(row[0]), bytes(row[1]))


def _link(before: bytes, number: int, content: str) -> bytes:
    return hashlib.sha256(before + number.to_bytes(8, "big") + content.encode()).digest()


def _entry(number: int, content: str, value: bytes) -> Entry:
    fields = json.loads(content)
    fields["subjects"] = tuple(fields["subjects"])
    return Entry(number=number, hash=bytes(value).hex(), **fields)
