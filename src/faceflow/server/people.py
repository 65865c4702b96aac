"""What the service knows of people beside the gallery: consent, and merges that can be undone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from faceflow.server.ids import new_id
from faceflow.server.problems import not_found
from faceflow.server.schemas import Consent
from faceflow.server.state import PARTS, State

PARTS.append(
    (
        "CREATE TABLE consent(gallery TEXT NOT NULL, person INTEGER NOT NULL,"
        " content TEXT NOT NULL, expiry TEXT, PRIMARY KEY(gallery, person))",
        "CREATE INDEX consent_by_expiry ON consent(expiry)",
        "CREATE TABLE merge(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
        " gallery TEXT NOT NULL, source INTEGER NOT NULL, source_name TEXT NOT NULL,"
        " target INTEGER NOT NULL, faces TEXT NOT NULL, dropped INTEGER NOT NULL,"
        " consent TEXT, made TEXT NOT NULL, split INTEGER)",
    )
)


@dataclass(frozen=True, slots=True)
class MergeRow:
    """A merge as it is kept.

    Attributes:
        source, source_name: who was merged, and was called so.
        target: into whom.
        faces: the faces that moved.
        consent: what was known of ``source``.
        split: who came of splitting it back.
    """

    number: int
    id: str
    source: int
    source_name: str
    target: int
    faces: tuple[int, ...]
    dropped: int
    consent: Consent | None
    made: datetime
    split: int | None


class Consents:
    """On what ground people are enrolled, and until when."""

    def __init__(self, state: State) -> None:
        self._state = state

    def of(self, gallery: str, people: Iterable[int]) -> dict[int, Consent]:
        """What is known of these people."""
        wanted = list(people)
        found: dict[int, Consent] = {}
        with self._state.reading() as connection:
            for start in range(0, len(wanted), 500):
                block = wanted[start : start + 500]
                marks = ",".join("?" * len(block))
                rows = connection.execute(
                    "SELECT person, content FROM consent"
                    f" WHERE gallery = ? AND person IN ({marks})",
                    (gallery, *block),
                )
                found |= {int(row[0]): Consent.model_validate_json(row[1]) for row in rows}
        return found

    @staticmethod
    def set(
        connection: sqlite3.Connection, gallery: str, person: int, consent: Consent | None
    ) -> None:
        """Keep it; None removes it."""
        connection.execute(
            "DELETE FROM consent WHERE gallery = ? AND person = ?", (gallery, person)
        )
        if consent is not None:
            # In one zone, so that the order of texts is that of times.
            expiry = None if consent.expiry is None else _utc(consent.expiry).isoformat()
            connection.execute(
                "INSERT INTO consent VALUES(?, ?, ?, ?)",
                (gallery, person, consent.model_dump_json(), expiry),
            )

    def expired(self, gallery: str | None, now: datetime) -> list[tuple[str, int, bool]]:
        """(gallery, person, legal hold) of those whose time is over."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT gallery, person, content FROM consent WHERE expiry <= ?"
                " AND (? IS NULL OR gallery = ?) ORDER BY expiry",
                (_utc(now).isoformat(), gallery, gallery),
            ).fetchall()
        return [(row[0], int(row[1]), bool(json.loads(row[2])["legal_hold"])) for row in rows]

    def held(self, gallery: str) -> frozenset[int]:
        """Everybody in a gallery who is on legal hold."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT person, content FROM consent WHERE gallery = ?", (gallery,)
            ).fetchall()
        return frozenset(int(row[0]) for row in rows if json.loads(row[1])["legal_hold"])

    @staticmethod
    def forget(connection: sqlite3.Connection, gallery: str) -> None:
        """Drop everything about a gallery that is gone."""
        connection.execute("DELETE FROM consent WHERE gallery = ?", (gallery,))


class Merges:
    """Merges, with what is needed to split them back."""

    def __init__(self, state: State) -> None:
        self._state = state

    @staticmethod
    def add(
        connection: sqlite3.Connection,
        gallery: str,
        *,
        source: tuple[int, str],
        target: int,
        faces: Iterable[int],
        dropped: int,
        consent: Consent | None,
    ) -> str:
        """Keep what a merge did; its id."""
        identity = new_id("g")
        connection.execute(
            "INSERT INTO merge VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                identity,
                gallery,
                *source,
                target,
                json.dumps(sorted(faces)),
                dropped,
                None if consent is None else consent.model_dump_json(),
                datetime.now(UTC).isoformat(),
            ),
        )
        return identity

    def get(self, gallery: str, identity: str) -> MergeRow:
        """One merge. Raises a problem, 404."""
        with self._state.reading() as connection:
            row = connection.execute(
                "SELECT * FROM merge WHERE gallery = ? AND id = ?", (gallery, identity)
            ).fetchone()
        if row is None:
            raise not_found(f"merge {identity[:40]!r}")
        return _row(row)

    def page(self, gallery: str, before: int | None, limit: int) -> list[MergeRow]:
        """Merges with a number below ``before``, the newest first."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM merge WHERE gallery = ? AND number < ? ORDER BY number DESC LIMIT ?",
                (gallery, 2**62 if before is None else before, limit),
            ).fetchall()
        return [_row(row) for row in rows]

    @staticmethod
    def split(connection: sqlite3.Connection, identity: str, person: int) -> None:
        """Note who came of splitting a merge back."""
        connection.execute("UPDATE merge SET split = ? WHERE id = ?", (person, identity))

    @staticmethod
    def forget(connection: sqlite3.Connection, gallery: str, person: int | None = None) -> None:
        """Drop what names a person who is gone for good, or a gallery."""
        if person is None:
            connection.execute("DELETE FROM merge WHERE gallery = ?", (gallery,))
        else:
            connection.execute(
                "DELETE FROM merge WHERE gallery = ?1 AND (source = ?2 OR target = ?2)",
                (gallery, person),
            )


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _row(row: sqlite3.Row) -> MergeRow:
    get = row.__getitem__
    consent = get("consent")
    return MergeRow(
        number=get("number"),
        id=get("id"),
        source=get("source"),
        source_name=get("source_name"),
        target=get("target"),
        faces=tuple(json.loads(get("faces"))),
        dropped=get("dropped"),
        consent=None if consent is None else Consent.model_validate_json(consent),
        made=datetime.fromisoformat(get("made")),
        split=get("split"),
    )
