"""Cases: a search kept as it was, and what people concluded from it, each on their own.

The rounds of a case:

    1. Whoever opened it decides, and may think again until somebody reviews.
    2. A second person decides, without seeing what the first one did.
    3. Where the two differ, a third person decides, without seeing either.

Decisions are only ever appended. Nobody sees another's before the case is settled, except those
who take no part in cases and only read them (:meth:`Cases.get`). What the audit log notes of a
decision is a salted hash: it proves later what was decided, and tells nothing before.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from itertools import combinations
from typing import Any

from faceflow.errors import InputError
from faceflow.server.audit import Audit
from faceflow.server.conclusions import Conclusion, Direction, scale
from faceflow.server.keys import Key
from faceflow.server.problems import Problem, not_found
from faceflow.server.roles import Permission
from faceflow.server.state import PARTS, State

SCHEMA = (
    # "case" is a word of SQL's own.
    "CREATE TABLE kept_case(id TEXT PRIMARY KEY, gallery TEXT NOT NULL, title TEXT NOT NULL,"
    " key TEXT NOT NULL, name TEXT NOT NULL, created TEXT NOT NULL, search TEXT NOT NULL)",
    "CREATE TABLE case_picture(kept_case TEXT NOT NULL REFERENCES kept_case(id) ON DELETE CASCADE,"
    " name TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY(kept_case, name))",
    "CREATE TABLE decision(kept_case TEXT NOT NULL REFERENCES kept_case(id) ON DELETE CASCADE,"
    " number INTEGER NOT NULL, round INTEGER NOT NULL, key TEXT NOT NULL, content TEXT NOT NULL,"
    " PRIMARY KEY(kept_case, number))",
    "CREATE TABLE case_erasure(number INTEGER PRIMARY KEY,"
    " kept_case TEXT NOT NULL REFERENCES kept_case(id) ON DELETE CASCADE,"
    " certificate TEXT NOT NULL, content TEXT NOT NULL)",
)
PARTS.append(SCHEMA)

LONGEST_TITLE, LONGEST_NOTE, MOST_FEATURES = 200, 20_000, 50
ROUNDS = 3
QUERY_PICTURES = ("query-aligned.png", "query-original.jpg")
"""Names of the pictures that show who was searched for."""


class CaseStatus(StrEnum):
    """Where a case stands."""

    OPEN = "open"
    """Nobody decided yet."""
    REVIEW = "awaiting review"
    """One has decided, or two have differently."""
    SETTLED = "settled"
    """Two agree, or a third has decided."""
    ERASED = "erased"
    """Nobody can decide it any more: the query went with a person whom it was said to show."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person concluded at one time.

    Attributes:
        number: from 1, in the order they were made.
        round: 1 to 3.
        key, name: whose it is.
        time: UTC, ISO 8601.
        conclusion: the step of the scale, with the words of that day.
        person, face_id: which candidate it is about; None: about all that were shown.
        note: the reasons, in the examiner's words.
        features: what was looked at, e.g. "left ear".
        names_shown: whether names and scores had been shown by then.
        salt: random, so that the hash in the audit log tells nothing by itself.
        erased: the hash as it was, where note, features and salt were erased since with the
            person they were about; else "".
    """

    number: int
    round: int
    key: str
    name: str
    time: str
    conclusion: Conclusion
    person: str | None
    face_id: int | None
    note: str
    features: tuple[str, ...]
    names_shown: bool
    salt: str
    erased: str = ""

    @property
    def hash(self) -> str:
        """What the audit log notes: sha256 of all but ``erased`` as canonical JSON, hex."""
        if self.erased:
            return self.erased
        told = asdict(self)
        del told["erased"]
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a settled case came to.

    Attributes:
        direction: what those who agree speak for; neither where all three differ.
        person: the candidate it is about, or None.
        agreed: numbers of the two decisions behind it; none where all three differ.
    """

    direction: Direction
    person: str | None
    agreed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What a case lost when people were erased from its gallery.

    Attributes:
        people: their ids.
        faces: ids of the faces.
        query: whether the query went too, because a decision was that it shows them.
        hashes: sha256 of what went, by name: pictures, ``title``, ``decision 1``.
        certificate: id of the deletion's certificate.
        time: UTC, ISO 8601.
    """

    people: tuple[str, ...]
    faces: tuple[int, ...]
    query: bool
    hashes: dict[str, str]
    certificate: str
    time: str


@dataclass(frozen=True, slots=True)
class Case:
    """A case as one reader may see it.

    Attributes:
        id: ``c_...``.
        gallery, title: as opened.
        key, name: who opened it.
        created: UTC, ISO 8601.
        search: the answer of the search, as it was; empty in a list of cases.
        pictures: names of the pictures kept with it.
        status: where it stands, as far as this reader may know.
        decisions: those this reader may see, by number.
        hidden: whether there are others.
        may_decide: whether this reader may decide now.
        outcome: of a settled case.
        erasures: what it lost since, the oldest first.
    """

    id: str
    gallery: str
    title: str
    key: str
    name: str
    created: str
    search: dict[str, Any]
    pictures: tuple[str, ...]
    status: CaseStatus
    decisions: tuple[Decision, ...]
    hidden: bool
    may_decide: bool
    outcome: Outcome | None
    erasures: tuple[Erasure, ...] = ()

    @property
    def query_erased(self) -> bool:
        """Whether nobody can look at the query any more."""
        return any(one.query for one in self.erasures)


class Cases:
    """The cases of a service."""

    def __init__(self, state: State, audit: Audit) -> None:
        self._state, self._audit = state, audit

    def open(
        self,
        key: Key,
        gallery: str,
        title: str,
        search: Mapping[str, Any],
        pictures: Mapping[str, bytes],
        also: Callable[[sqlite3.Connection], None] | None = None,
    ) -> str:
        """Keep a search with its pictures; durable when this returns.

        Args:
            key: who opens it.
            gallery: where it was searched.
            title: what the case is called.
            search: the answer, as the service gave it.
            pictures: file name -> content; the query's crop and the candidates'.
            also: done in the same transaction.

        Returns:
            The case's id.

        Raises:
            InputError: no title, or a very long one.
        """
        if not title.strip() or len(title) > LONGEST_TITLE:
            raise InputError(f"a case needs a title of at most {LONGEST_TITLE} characters")
        identity = f"c_{secrets.token_urlsafe(12)}"
        now = datetime.now(UTC).isoformat()
        with self._state.writing() as connection:
            connection.execute(
                "INSERT INTO kept_case VALUES(?, ?, ?, ?, ?, ?, ?)",
                (identity, gallery, title.strip(), key.id, key.name, now, json.dumps(search)),
            )
            connection.executemany(
                "INSERT INTO case_picture VALUES(?, ?, ?)",
                [(identity, name, content) for name, content in pictures.items()],
            )
            self._audit.append(
                key.id,
                "open case",
                gallery=gallery,
                subjects=(identity, str(search.get("id", ""))),
                connection=connection,
                pictures={name: sha256(content) for name, content in pictures.items()},
            )
            if also is not None:
                also(connection)
        return identity

    def remove(
        self, key: Key, identity: str, also: Callable[[sqlite3.Connection, Case], None]
    ) -> None:
        """Erase a case with its pictures and decisions; the log keeps that it was.

        Args:
            key: who asks.
            identity: the case.
            also: done in the same transaction, told the case.

        Raises:
            Problem: 404, there is no such case.
        """
        with self._state.writing() as connection:
            row = _row(connection, key, identity)
            case = _seen(connection, row, key)
            connection.execute("DELETE FROM kept_case WHERE id = ?", (identity,))
            self._audit.append(
                key.id,
                "remove case",
                gallery=row["gallery"],
                subjects=(identity,),
                connection=connection,
            )
            also(connection, case)
        self._state.erase()

    def get(self, key: Key, identity: str) -> Case:
        """A case as a key may see it. None, or in a gallery that is not the key's: a problem."""
        with self._state.reading() as connection:
            row = _row(connection, key, identity)
            return _seen(connection, row, key)

    def page(
        self, key: Key, *, after: tuple[str, str] | None = None, limit: int = 50
    ) -> list[Case]:
        """Cases in the key's galleries, newest first, from after the given (created, id)."""
        found: list[Case] = []
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM kept_case WHERE ? OR (created, id) < (?, ?)"
                " ORDER BY created DESC, id DESC",
                (after is None, *(after or ("", ""))),
            )
            for row in rows:
                if len(found) == limit:
                    break
                if key.galleries is None or row["gallery"] in key.galleries:
                    found.append(_seen(connection, row, key, whole=False))
        return found

    def picture(self, key: Key, identity: str, name: str) -> bytes:
        """A picture kept with a case; no such case or picture is a problem."""
        with self._state.reading() as connection:
            _row(connection, key, identity)
            row = connection.execute(
                "SELECT content FROM case_picture WHERE kept_case = ? AND name = ?",
                (identity, name),
            ).fetchone()
        if row is None:
            raise not_found(f"picture {name!r} in this case")
        return bytes(row["content"])

    def decide(
        self,
        key: Key,
        identity: str,
        conclusion: str,
        *,
        person: str | None = None,
        face_id: int | None = None,
        note: str = "",
        features: Sequence[str] = (),
        names_shown: bool = False,
    ) -> Case:
        """Append a decision; durable when this returns.

        Args:
            key: who decides.
            identity: the case.
            conclusion: key of a step of the scale.
            person, face_id: the candidate, one of the search's; needed where the conclusion is
                that it is the same person.
            note, features, names_shown: see :class:`Decision`.

        Raises:
            InputError: not on the scale, not a candidate, or too long.
            Problem: 403 or 409 where it is not this key's turn; the message says why.
        """
        step = next((one for one in scale(self._state) if one.key == conclusion), None)
        if step is None:
            keys = ", ".join(one.key for one in scale(self._state))
            raise InputError(f"{conclusion!r} is not on the scale", todo=f"choose one of {keys}")
        if len(note) > LONGEST_NOTE or len(features) > MOST_FEATURES:
            raise InputError(
                f"a decision has a note of at most {LONGEST_NOTE} characters and at most "
                f"{MOST_FEATURES} features"
            )
        if step.direction is Direction.SAME and person is None:
            raise InputError(
                "this conclusion needs a candidate", why="it says that two faces are one person's"
            )
        with self._state.writing() as connection:
            row = _row(connection, key, identity)
            if any(one.query for one in _erasures(connection, identity)):
                raise _query_erased()
            candidates = {
                one["person"]["id"]: one["person"]["name"]
                for one in json.loads(row["search"])["candidates"]
            }
            if person is not None and person not in candidates:
                raise InputError(
                    f"{person!r} is not among the candidates of this case",
                    why="it never was, or was erased since",
                )
            made = _decisions(connection, identity)
            turn = _turn(made, key)
            decision = Decision(
                number=len(made) + 1,
                round=turn,
                key=key.id,
                name=key.name,
                time=datetime.now(UTC).isoformat(),
                conclusion=step,
                person=person,
                face_id=face_id,
                note=note.strip(),
                features=tuple(feature.strip() for feature in features if feature.strip()),
                names_shown=names_shown,
                salt=secrets.token_hex(16),
            )
            connection.execute(
                "INSERT INTO decision VALUES(?, ?, ?, ?, ?)",
                (identity, decision.number, turn, key.id, json.dumps(asdict(decision))),
            )
            self._audit.append(
                key.id,
                "decide",
                gallery=row["gallery"],
                subjects=(identity,),
                connection=connection,
                decision=decision.number,
                sha256=decision.hash,
            )
            return _seen(connection, row, key)


def _row(connection: sqlite3.Connection, key: Key, identity: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM kept_case WHERE id = ?", (identity,)
    ).fetchone()
    if row is None or (key.galleries is not None and row["gallery"] not in key.galleries):
        raise not_found(f"case {identity!r}")
    return row


def _decisions(connection: sqlite3.Connection, identity: str) -> list[Decision]:
    rows = connection.execute(
        "SELECT content FROM decision WHERE kept_case = ? ORDER BY number", (identity,)
    )
    return [decision_of(json.loads(row["content"])) for row in rows]


def _erasures(connection: sqlite3.Connection, identity: str) -> list[Erasure]:
    rows = connection.execute(
        "SELECT content FROM case_erasure WHERE kept_case = ? ORDER BY number", (identity,)
    )
    return [_erasure(json.loads(row["content"])) for row in rows]


def _erasure(fields: dict[str, Any]) -> Erasure:
    fields["people"], fields["faces"] = tuple(fields["people"]), tuple(fields["faces"])
    return Erasure(**fields)


def _told(erasure: Erasure, decisions: AbstractSet[int]) -> Erasure:
    """Without the hashes of other decisions, which would tell whom they were about."""
    known = {f"decision {number}" for number in decisions}
    hashes = {
        name: value
        for name, value in erasure.hashes.items()
        if not name.startswith("decision ") or name in known
    }
    return replace(erasure, hashes=hashes)


def _query_erased() -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        "erased",
        "Nobody can decide this case any more",
        why="the person whom it was said to show was erased, and the query with them",
    )


def decision_of(fields: dict[str, Any]) -> Decision:
    """A decision from its stored fields."""
    fields = dict(fields)
    step = fields["conclusion"]
    fields["conclusion"] = Conclusion(step["key"], step["text"], Direction(step["direction"]))
    fields["features"] = tuple(fields["features"])
    return Decision(**fields)


def _seen(
    connection: sqlite3.Connection, row: sqlite3.Row, key: Key, *, whole: bool = True
) -> Case:
    made = _decisions(connection, row["id"])
    outcome = outcome_of(made)
    own = [one for one in made if one.key == key.id]
    # Whoever may still have to decide, or has decided while others may, sees what is theirs.
    takes_part = key.may(Permission.REVIEW_CASE) or bool(own) or key.may(Permission.OPEN_CASE)
    erasures = _erasures(connection, row["id"])
    closed = outcome is not None or any(one.query for one in erasures)
    shown = made if closed or not takes_part else own
    status = CaseStatus.REVIEW if made else CaseStatus.OPEN
    if closed:
        status = CaseStatus.SETTLED if outcome else CaseStatus.ERASED
    try:
        _turn(made, key)
    except Problem:
        may = False
    else:
        may = not closed
    names = connection.execute(
        "SELECT name FROM case_picture WHERE kept_case = ? ORDER BY name", (row["id"],)
    )
    return Case(
        id=row["id"],
        gallery=row["gallery"],
        title=row["title"],
        key=row["key"],
        name=row["name"],
        created=row["created"],
        search=json.loads(row["search"]) if whole else {},
        pictures=tuple(name["name"] for name in names),
        status=status,
        decisions=tuple(shown),
        hidden=len(shown) < len(made),
        may_decide=may,
        outcome=outcome,
        erasures=tuple(_told(one, {made.number for made in shown}) for one in erasures),
    )


def _counted(made: Sequence[Decision]) -> list[Decision]:
    """The last decision of each round."""
    return list({decision.round: decision for decision in made}.values())


def _turn(made: Sequence[Decision], key: Key) -> int:
    """The round in which a key may decide now.

    Raises:
        Problem: 403 where its role may not, 409 where it has decided or the case is settled.
    """
    counted = _counted(made)
    thinks_again = len(counted) == 1 and counted[0].key == key.id
    turn = 1 if thinks_again else len(counted) + 1
    wanted = Permission.OPEN_CASE if turn == 1 else Permission.REVIEW_CASE
    if outcome_of(made) is not None:
        raise Problem(HTTPStatus.CONFLICT, "settled", "This case is settled")
    if turn > 1 and any(one.key == key.id for one in counted):
        raise Problem(
            HTTPStatus.CONFLICT,
            "decided",
            "You have decided this case",
            why="the next decision is another person's, who must not know yours",
        )
    if not key.may(wanted):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            f"A key with the role {key.role} may not decide this case now",
            why=f"it needs the permission to {wanted.value}",
        )
    return turn


def agree(a: Decision, b: Decision) -> bool:
    """Whether two decisions say the same: one direction, and one person where it is a person."""
    same = a.conclusion.direction is b.conclusion.direction
    return same and (a.conclusion.direction is not Direction.SAME or a.person == b.person)


def outcome_of(made: Sequence[Decision]) -> Outcome | None:
    """What the decisions come to, or None while another is needed."""
    counted = _counted(made)
    for first, second in combinations(counted, 2):
        if agree(first, second):
            person = first.person if first.conclusion.direction is Direction.SAME else None
            return Outcome(first.conclusion.direction, person, (first.number, second.number))
    return Outcome(Direction.NEITHER, None, ()) if len(counted) == ROUNDS else None


def sha256(content: bytes) -> str:
    """Hex digest, as the log and the case file note it."""
    return hashlib.sha256(content).hexdigest()
