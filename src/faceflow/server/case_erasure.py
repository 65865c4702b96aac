"""Erasing people from cases: ids and hashes are left, and a note that says whose and when.

A case records what was seen when somebody decided, and a person's right to be erased reaches it all
the same. What goes: the person's entry among the candidates with its name and numbers, pictures of
their faces, and of each decision about them the words. Where a decision was that they *are* who was
searched for, the query shows them too, and its pictures and the search go as well.

What stays: ids, the steps of the scale that were chosen, and the hashes of everything that went, so
that a case file made before can still be held against the audit log. The salts go, so that the
hashes tell nothing by themselves.

Nobody is erased while they are on legal hold (:mod:`faceflow.server.deletions` refuses). A case
whose decisions also concern somebody else on hold keeps that person's part: the query, and words
about them.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from faceflow.server.cases import QUERY_PICTURES, Erasure, decision_of, sha256
from faceflow.server.conclusions import Direction
from faceflow.server.ids import person_id

ERASED_TITLE = "(erased)"


@dataclass(frozen=True, slots=True)
class Gone:
    """Who and what was erased from a gallery.

    Attributes:
        gallery: its name.
        people: numbers of people; none where a face went and its person stays; None: everybody,
            with the gallery.
        faces: ids of faces; those of the people, as far as known, or the one that went.
        certificate: id of the deletion.
    """

    gallery: str
    people: AbstractSet[int] | None
    faces: AbstractSet[int]
    certificate: str


def erase_from_cases(
    connection: sqlite3.Connection, gone: Gone, held: AbstractSet[int] = frozenset()
) -> list[str]:
    """Erase people or faces from the cases of their gallery, in the caller's transaction.

    Args:
        connection: inside a change.
        gone: who.
        held: numbers of people of the gallery on legal hold.

    Returns:
        Ids of the cases that changed.
    """
    rows = connection.execute(
        "SELECT * FROM kept_case WHERE gallery = ? ORDER BY created, id", (gone.gallery,)
    ).fetchall()
    return [row["id"] for row in rows if _erase(connection, row, gone, held)]


def former_people(connection: sqlite3.Connection, gallery: str, person: int) -> set[int]:
    """A person with the ids they had: of who was merged into them, or whom a split brought back."""
    found, new = {person}, [person]
    while new:
        rows = connection.execute(
            "SELECT source FROM merge WHERE gallery = ?1"
            " AND (split = ?2 OR (target = ?2 AND split IS NULL))",
            (gallery, new.pop()),
        )
        more = {int(row[0]) for row in rows} - found
        found |= more
        new += more
    return found


def cases_changed(connection: sqlite3.Connection, certificate: str) -> int:
    """How many cases a deletion was erased from."""
    row = connection.execute(
        "SELECT count(DISTINCT kept_case) FROM case_erasure WHERE certificate = ?", (certificate,)
    ).fetchone()
    return int(row[0])


def _erase(
    connection: sqlite3.Connection, row: sqlite3.Row, gone: Gone, held: AbstractSet[int]
) -> bool:
    case, search = row["id"], json.loads(row["search"])
    lost = _lost(search["candidates"], gone)
    faces = {one["face_id"] for one in search["candidates"]} & gone.faces
    faces |= {one["face_id"] for one in lost}
    if not faces:
        return False
    ids = sorted({one["person"]["id"] for one in lost})
    names = {one["person"]["name"] for one in lost if one["person"]["name"]}
    decisions = [
        (made["number"], json.loads(made["content"]))
        for made in connection.execute(
            "SELECT number, content FROM decision WHERE kept_case = ? ORDER BY number", (case,)
        ).fetchall()
    ]
    kept = {content["person"] for _, content in decisions} & {person_id(one) for one in held}
    kept -= set(ids)
    said_same = any(
        content["person"] in ids and content["conclusion"]["direction"] == Direction.SAME
        for _, content in decisions
    )
    query = (gone.people is None or said_same) and not kept

    hashes: dict[str, str] = {}
    for name in [f"face-{face}.jpg" for face in sorted(faces)] + list(QUERY_PICTURES) * query:
        hashes |= _picture(connection, case, name)
    for number, content in decisions:
        if _concerns(content, ids, names, kept):
            hashes |= _words(connection, case, number, content)
    if not lost and not hashes:  # the face's picture went before
        return False
    title = row["title"]
    if _mentions(title, names):
        hashes["title"], title = sha256(title.encode()), ERASED_TITLE
    connection.execute(
        "UPDATE kept_case SET search = ?, title = ? WHERE id = ?",
        (json.dumps(search | _without(search, ids)), title, case),
    )
    _kept_search(connection, search["id"], ids, query=query)
    erasure = Erasure(
        people=tuple(ids),
        faces=tuple(sorted(faces)),
        query=query,
        hashes=hashes,
        certificate=gone.certificate,
        time=datetime.now(UTC).isoformat(),
    )
    connection.execute(
        "INSERT INTO case_erasure VALUES(NULL, ?, ?, ?)",
        (case, gone.certificate, json.dumps(asdict(erasure))),
    )
    return True


def _lost(candidates: Sequence[dict[str, Any]], gone: Gone) -> list[dict[str, Any]]:
    """The candidates who are gone."""
    if gone.people is None:
        return list(candidates)
    if not gone.people:
        return []
    ids = {person_id(number) for number in gone.people}
    return [one for one in candidates if one["person"]["id"] in ids or one["face_id"] in gone.faces]


def _concerns(
    decision: dict[str, Any], ids: Collection[str], names: AbstractSet[str], kept: AbstractSet[str]
) -> bool:
    """Whether a decision's words are about who is gone."""
    about = decision["person"]
    if not ids or about in kept:
        return False
    if about in ids or (about is None and not kept):
        return True
    return _mentions(f"{decision['note']} {' '.join(decision['features'])}", names)


def _picture(connection: sqlite3.Connection, case: str, name: str) -> dict[str, str]:
    row = connection.execute(
        "SELECT content FROM case_picture WHERE kept_case = ? AND name = ?", (case, name)
    ).fetchone()
    if row is None:
        return {}
    connection.execute("DELETE FROM case_picture WHERE kept_case = ? AND name = ?", (case, name))
    return {name: sha256(bytes(row[0]))}


def _words(
    connection: sqlite3.Connection, case: str, number: int, content: dict[str, Any]
) -> dict[str, str]:
    """Take the words of a decision; what the log knows it by stays."""
    decision = decision_of(dict(content))
    if decision.erased:
        return {}
    erased = content | {"note": "", "features": [], "salt": "", "erased": decision.hash}
    connection.execute(
        "UPDATE decision SET content = ? WHERE kept_case = ? AND number = ?",
        (json.dumps(erased), case, number),
    )
    return {f"decision {number}": decision.hash}


def _without(search: dict[str, Any], ids: Collection[str]) -> dict[str, Any]:
    return {
        part: [one for one in search.get(part, ()) if one["person"]["id"] not in ids]
        for part in ("candidates", "rejected")
    }


def _kept_search(
    connection: sqlite3.Connection, identity: str, ids: Collection[str], *, query: bool
) -> None:
    """The search behind the case, with the query's features: without them, or not at all."""
    row = connection.execute("SELECT content FROM search WHERE id = ?", (identity,)).fetchone()
    if row is None:
        return
    if query:
        connection.execute("DELETE FROM search WHERE id = ?", (identity,))
        return
    search = json.loads(row[0])
    connection.execute(
        "UPDATE search SET content = ? WHERE id = ?",
        (json.dumps(search | _without(search, ids)), identity),
    )


def _mentions(text: str, names: AbstractSet[str]) -> bool:
    folded = text.casefold()
    return any(re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", folded) for name in names)
