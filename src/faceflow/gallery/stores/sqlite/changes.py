"""Changes to the rows of a gallery file, each inside a transaction of the caller."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from faceflow.errors import InputError
from faceflow.gallery.stores.rows import checked_name, seal_name
from faceflow.gallery.stores.seal import damaged, seal, unseal
from faceflow.gallery.stores.sqlite.blocks import Blocks
from faceflow.gallery.stores.store import Added, StoredFace
from faceflow.gallery.stores.unknown import (
    LARGEST_ID,
    name_taken,
    no_face,
    no_person,
    no_person_id,
    require_possible,
)

MakeRow = Callable[[int, int, StoredFace], tuple[Any, ...]]
"""Builds a row of the face table from face id, person id and face."""

REMOVALS_KEPT = 100_000
"""Removed ids that are kept, so that readers need not compare all ids."""


def add(
    connection: sqlite3.Connection,
    faces: Sequence[StoredFace],
    make_row: MakeRow,
    blocks: Blocks,
) -> list[Added]:
    """Insert faces, leaving out content that its person already has."""
    people: dict[str, int] = {}
    last_face, last_person, _ = state(connection)
    results: list[Added] = []
    new: dict[int, StoredFace] = {}
    for face in faces:
        name = face.record.person
        person = people.get(name) or find(connection, name)
        content = bytes.fromhex(face.record.content_hash)
        owners = connection.execute(
            "SELECT person_id FROM photo WHERE content_hash = ?", (content,)
        ).fetchall()
        others = tuple(sorted(_name(connection, owner) for (owner,) in owners if owner != person))
        if (person,) in owners:
            results.append(Added(None, others))
            continue
        if person is None:
            last_person = person = last_person + 1
            _insert_person(connection, person, name)
        people[name] = person
        wanted = face.record.face_id
        if wanted and wanted <= last_face:
            raise InputError(f"face id {wanted} is not larger than {last_face}")
        last_face = wanted or last_face + 1
        connection.execute("INSERT INTO photo VALUES(?, ?, ?)", (content, person, last_face))
        connection.execute(
            "INSERT INTO face VALUES(?, ?, ?, ?, ?, ?, ?, ?)", make_row(last_face, person, face)
        )
        new[last_face] = face
        results.append(Added(last_face, others))
    if new:
        blocks.append(connection, list(new), np.stack([face.embedding for face in new.values()]))
    connection.execute(
        "UPDATE state SET last_face_id = ?, last_person_id = ?", (last_face, last_person)
    )
    return results


def state(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """The last face's id, the last person's, and how many faces were removed."""
    row = connection.execute("SELECT last_face_id, last_person_id, removals FROM state").fetchone()
    if row is None or not all(isinstance(value, int) and value >= 0 for value in row):
        raise damaged("state", ())
    return row[0], row[1], row[2]


def remove_faces(connection: sqlite3.Connection, face_ids: Sequence[int], blocks: Blocks) -> int:
    """Remove these faces; how many. Unknown id: GalleryError."""
    wanted = sorted(set(face_ids))
    require_possible(wanted)
    _collect(connection, "INSERT INTO gone VALUES(?)", [(i,) for i in wanted])
    unknown = connection.execute(
        "SELECT min(face_id) FROM gone WHERE face_id NOT IN (SELECT face_id FROM face)"
    ).fetchone()[0]
    if unknown is not None:
        raise no_face(unknown)
    return _remove_collected(connection, blocks)


def remove_person(connection: sqlite3.Connection, person: int, blocks: Blocks) -> int:
    """Remove a person with all faces; how many."""
    _collect(
        connection, "INSERT INTO gone SELECT face_id FROM face WHERE person_id = ?", [(person,)]
    )
    return _remove_collected(connection, blocks)


def rename(connection: sqlite3.Connection, person: int, new: str) -> int:
    """Give a person another name; how many faces have it now."""
    if find(connection, new) not in (None, person):
        raise name_taken(new)
    connection.execute(
        "UPDATE person_name SET name = ?, seal = ? WHERE person_id = ?",
        (new, seal_name(person, new), person),
    )
    _write_anew(connection, "person_name")
    query = "SELECT count(*) FROM face WHERE person_id = ?"
    return int(connection.execute(query, (person,)).fetchone()[0])


def merge(
    connection: sqlite3.Connection, source: int, target: int, blocks: Blocks
) -> tuple[int, int]:
    """Move faces between people; how many were moved, and dropped as the same photo."""
    if source == target:
        raise InputError("a person cannot be merged with itself")
    _collect(
        connection,
        "INSERT INTO gone SELECT face_id FROM photo WHERE person_id = ? AND content_hash"
        " IN (SELECT content_hash FROM photo WHERE person_id = ?)",
        [(source, target)],
    )
    dropped = _remove_collected(connection, blocks)
    moving = connection.execute("SELECT face_id FROM face WHERE person_id = ?", (source,))
    moved = [face_id for (face_id,) in moving.fetchall()]
    _give(connection, moved, target)
    _forget_empty(connection)
    return len(moved), dropped


def move_faces(
    connection: sqlite3.Connection, face_ids: Sequence[int], name: str, blocks: Blocks
) -> tuple[int, int]:
    """Move faces to a person, made if needed; how many were moved, and dropped as same photos."""
    wanted = sorted(set(face_ids))
    require_possible(wanted)
    target = find(connection, name)
    moving = []
    for face_id in wanted:
        row = connection.execute(
            "SELECT person_id FROM face WHERE face_id = ?", (face_id,)
        ).fetchone()
        if row is None:
            raise no_face(face_id)
        if row[0] != target:
            moving.append(face_id)
    if not moving:
        return 0, 0
    if target is None:
        _, target, _ = state(connection)
        target += 1
        connection.execute("UPDATE state SET last_person_id = ?", (target,))
        _insert_person(connection, target, name)
    there = connection.execute("SELECT content_hash FROM photo WHERE person_id = ?", (target,))
    taken = {content for (content,) in there.fetchall()}
    twice = []
    for face_id in moving:
        content = _photo(_record(connection, face_id)[1], face_id)
        if content in taken:
            twice.append(face_id)
        taken.add(content)
    moved = sorted(set(moving) - set(twice))
    _give(connection, moved, target)
    # Last: nobody is forgotten while the new person has no face yet.
    _collect(connection, "INSERT INTO gone VALUES(?)", [(face_id,) for face_id in twice])
    dropped = _remove_collected(connection, blocks)
    _forget_empty(connection)
    return len(moved), dropped


def _give(connection: sqlite3.Connection, face_ids: Sequence[int], target: int) -> None:
    """Make faces another person's, none of whose photos is already that person's."""
    for face_id in face_ids:
        source, record = _record(connection, face_id)
        connection.execute(
            "UPDATE face SET person_id = ?, record = ? WHERE face_id = ?",
            (target, seal("record", (face_id, target), record), face_id),
        )
        changed = connection.execute(
            "UPDATE photo SET person_id = ?3 WHERE content_hash = ?1 AND person_id = ?2",
            (_photo(record, face_id), source, target),
        )
        if changed.rowcount != 1:
            raise damaged("photo index", ())
    _note_left(connection, face_ids)


def _record(connection: sqlite3.Connection, face_id: int) -> tuple[int, bytes]:
    """Whose a face is, and its record as JSON; the face exists."""
    source, sealed = connection.execute(
        "SELECT person_id, record FROM face WHERE face_id = ?", (face_id,)
    ).fetchone()
    return source, unseal("record", (face_id, source), sealed)


def _photo(record: bytes, face_id: int) -> bytes:
    """The content hash that a record names."""
    try:
        return bytes.fromhex(json.loads(record)["content_hash"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged("record", (face_id,)) from error


def _insert_person(connection: sqlite3.Connection, person: int, name: str) -> None:
    connection.execute("INSERT INTO person VALUES(?)", (person,))
    connection.execute(
        "INSERT INTO person_name VALUES(?, ?, ?)", (person, name, seal_name(person, name))
    )


def find(connection: sqlite3.Connection, name: str) -> int | None:
    """The person's id, or None."""
    row = connection.execute("SELECT person_id FROM person_name WHERE name = ?", (name,)).fetchone()
    return row and int(row[0])


def require(connection: sqlite3.Connection, who: str | int) -> int:
    """The id of the person of that name or id; GalleryError, with similar names, without one."""
    if isinstance(who, int):
        there = (
            0 < who <= LARGEST_ID
            and connection.execute(
                "SELECT 1 FROM person_name WHERE person_id = ?", (who,)
            ).fetchone()
        )
        if not there:
            raise no_person_id(who)
        return who
    person = find(connection, who)
    if person is None:
        names = [row[0] for row in connection.execute("SELECT name FROM person_name")]
        raise no_person(who, names)
    return person


def _name(connection: sqlite3.Connection, person: int) -> str:
    row = connection.execute(
        "SELECT name, seal FROM person_name WHERE person_id = ?", (person,)
    ).fetchone()
    return checked_name(person, *(row or (None, None)))


def _collect(connection: sqlite3.Connection, insert: str, rows: Sequence[tuple[int, ...]]) -> None:
    connection.execute("CREATE TEMP TABLE gone(face_id INTEGER PRIMARY KEY)")
    connection.executemany(insert, rows)


def _remove_collected(connection: sqlite3.Connection, blocks: Blocks) -> int:
    gone = "face_id IN (SELECT face_id FROM gone)"
    removed = connection.execute(f"DELETE FROM face WHERE {gone}").rowcount
    if removed:
        ids = [row[0] for row in connection.execute("SELECT face_id FROM gone ORDER BY face_id")]
        blocks.remove(connection, ids)
        _note_left(connection, ids)
        connection.execute(f"DELETE FROM photo WHERE {gone}")
        _write_anew(connection, "photo")
        _forget_empty(connection)
    connection.execute("DROP TABLE temp.gone")
    return removed


def _note_left(connection: sqlite3.Connection, face_ids: Sequence[int]) -> None:
    """Note for readers that these faces left a person, see :class:`Revision`."""
    _, _, removals = state(connection)
    connection.executemany(
        "INSERT INTO removal VALUES(?, ?)", enumerate(face_ids, start=removals + 1)
    )
    removals += len(face_ids)
    connection.execute("DELETE FROM removal WHERE number <= ?", (removals - REMOVALS_KEPT,))
    connection.execute("UPDATE state SET removals = ?", (removals,))


def _forget_empty(connection: sqlite3.Connection) -> None:
    empty = "person_id NOT IN (SELECT person_id FROM face)"
    if connection.execute(f"DELETE FROM person WHERE {empty}").rowcount:
        connection.execute(f"DELETE FROM person_name WHERE {empty}")
        _write_anew(connection, "person_name")


def _write_anew(connection: sqlite3.Connection, table: str) -> None:
    """Free, and so zero, every page of a table and write its rows again (see layout.py)."""
    connection.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM main.{table}")
    connection.execute(f"DELETE FROM main.{table}")
    connection.execute(f"INSERT INTO main.{table} SELECT * FROM kept")
    connection.execute("DROP TABLE temp.kept")
