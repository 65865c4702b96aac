"""Changes to the rows of a gallery in PostgreSQL, each inside a transaction of the caller.

All of them lock the one row of ``state`` first. So one change follows the other, ids are given in
the order in which they become visible, and the last of a person's faces cannot go twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

from faceflow.errors import InputError
from faceflow.gallery.person_names import by_name
from faceflow.gallery.stores.postgres.connecting import Connection
from faceflow.gallery.stores.rows import checked_name, seal_name, seal_record
from faceflow.gallery.stores.seal import damaged, seal, unseal
from faceflow.gallery.stores.store import Added, StoredFace
from faceflow.gallery.stores.unknown import (
    LARGEST_ID,
    name_taken,
    no_face,
    no_person,
    no_person_id,
    require_possible,
)

REMOVALS_KEPT = 100_000
"""Removed ids that are kept, so that readers need not compare all ids."""

State = tuple[int, int, int]
"""The last face's id, the last person's, and how many faces were removed."""


def lock(connection: Connection) -> State:
    """Wait for other changes to be over, and be the only one until the transaction ends."""
    row: Any = connection.execute(
        "SELECT last_face_id, last_person_id, removals FROM state FOR UPDATE"
    ).fetchone()
    if row is None:
        raise damaged("state", ())
    connection.execute("UPDATE state SET token = %s", (os.urandom(16),))
    return row[0], row[1], row[2]


def add(connection: Connection, state: State, faces: Sequence[StoredFace]) -> list[Added]:
    """Insert faces, leaving out content that its person already has."""
    last_face, last_person, _ = state
    people, owners = _known(connection, faces)
    names = {person: name for name, person in people.items()}
    results: list[Added] = []
    new: list[tuple[int, int, StoredFace]] = []
    created: list[tuple[int, str]] = []
    for face in faces:
        name, content = face.record.person, bytes.fromhex(face.record.content_hash)
        person = people.get(name)
        having = owners.setdefault(content, {})
        others = tuple(sorted(other for owner, other in having.items() if owner != person))
        if person in having:
            results.append(Added(None, others))
            continue
        if person is None:
            last_person = person = last_person + 1
            people[name] = person
            names[person] = name
            created.append((person, name))
        wanted = face.record.face_id
        if wanted and wanted <= last_face:
            raise InputError(f"face id {wanted} is not larger than {last_face}")
        last_face = wanted or last_face + 1
        having[person] = name
        new.append((last_face, person, face))
        results.append(Added(last_face, others))
    _copy_people(connection, created)
    _copy_faces(connection, new)
    connection.execute(
        "UPDATE state SET last_face_id = %s, last_person_id = %s", (last_face, last_person)
    )
    return results


def _known(
    connection: Connection, faces: Sequence[StoredFace]
) -> tuple[dict[str, int], dict[bytes, dict[int, str]]]:
    """Who of these people is known, and who has these photos: names by id."""
    rows: Any = connection.execute(
        "SELECT person_id, name, seal FROM person WHERE name = ANY(%s)",
        (list({face.record.person for face in faces}),),
    ).fetchall()
    people = {checked_name(*row): row[0] for row in rows}
    hashes = list({bytes.fromhex(face.record.content_hash) for face in faces})
    owners: dict[bytes, dict[int, str]] = {}
    rows = connection.execute(
        "SELECT content_hash, p.person_id, name, seal FROM photo p"
        " LEFT JOIN person USING (person_id) WHERE content_hash = ANY(%s)",
        (hashes,),
        binary=True,
    ).fetchall()
    for content, person, name, name_seal in rows:
        owners.setdefault(bytes(content), {})[person] = checked_name(person, name, name_seal)
    return people, owners


def _copy_people(connection: Connection, people: Iterable[tuple[int, str]]) -> None:
    _copy(
        connection,
        "COPY person(person_id, name, fold, seal) FROM STDIN (FORMAT BINARY)",
        ("int8", "text", "text", "int8"),
        ((person, name, by_name(name)[0], seal_name(person, name)) for person, name in people),
    )


def _copy_faces(connection: Connection, faces: Sequence[tuple[int, int, StoredFace]]) -> None:
    _copy(
        connection,
        "COPY face(face_id, person_id, record) FROM STDIN (FORMAT BINARY)",
        ("int8", "int8", "bytea"),
        ((i, person, seal_record(face.record, i, person)) for i, person, face in faces),
    )
    _copy(
        connection,
        "COPY embedding(face_id, content) FROM STDIN (FORMAT BINARY)",
        ("int8", "bytea"),
        (
            (i, seal("embedding", (i,), face.embedding.astype("<f4").tobytes()))
            for i, _, face in faces
        ),
    )
    _copy(
        connection,
        "COPY payload(face_id, patches, thumbnail) FROM STDIN (FORMAT BINARY)",
        ("int8", "bytea", "bytea"),
        (
            (
                i,
                seal("patches", (i,), face.payload),
                None if face.thumbnail is None else seal("thumbnail", (i,), face.thumbnail),
            )
            for i, _, face in faces
        ),
    )
    _copy(
        connection,
        "COPY photo(content_hash, person_id, face_id) FROM STDIN (FORMAT BINARY)",
        ("bytea", "int8", "int8"),
        ((bytes.fromhex(face.record.content_hash), person, i) for i, person, face in faces),
    )


def _copy(
    connection: Connection,
    statement: LiteralString,
    types: Sequence[str],
    rows: Iterable[tuple[object, ...]],
) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def remove_faces(connection: Connection, state: State, face_ids: Sequence[int]) -> int:
    """Remove these faces; how many. Unknown id: GalleryError."""
    wanted = sorted(set(face_ids))
    require_possible(wanted)
    rows: Any = connection.execute(
        "SELECT face_id FROM face WHERE face_id = ANY(%s)", (wanted,)
    ).fetchall()
    missing = sorted(set(wanted) - {row[0] for row in rows})
    if missing:
        raise no_face(missing[0])
    return _remove(connection, state, wanted)


def remove_person(connection: Connection, state: State, person: int) -> int:
    """Remove a person with all faces; how many."""
    return _remove(connection, state, _faces_of(connection, person))


def rename(connection: Connection, person: int, new: str) -> int:
    """Give a person another name; how many faces have it now."""
    if find(connection, new) not in (None, person):
        raise name_taken(new)
    connection.execute(
        "UPDATE person SET name = %s, fold = %s, seal = %s WHERE person_id = %s",
        (new, by_name(new)[0], seal_name(person, new), person),
    )
    _mark(connection, {"person"})
    return len(_faces_of(connection, person))


def merge(connection: Connection, state: State, source: int, target: int) -> tuple[int, int]:
    """Move faces between people; how many were moved, and dropped as the same photo."""
    if source == target:
        raise InputError("a person cannot be merged with itself")
    return _give(connection, state, _faces_of(connection, source), target)


def move_faces(
    connection: Connection, state: State, face_ids: Sequence[int], name: str
) -> tuple[int, int]:
    """Move faces to a person, made if needed; how many were moved, and dropped as same photos."""
    wanted = sorted(set(face_ids))
    require_possible(wanted)
    rows: Any = connection.execute(
        "SELECT face_id, person_id FROM face WHERE face_id = ANY(%s)", (wanted,)
    ).fetchall()
    owners = dict(rows)
    for face_id in wanted:
        if face_id not in owners:
            raise no_face(face_id)
    target = find(connection, name)
    moving = [face_id for face_id in wanted if owners[face_id] != target]
    if not moving:
        return 0, 0
    if target is None:
        target = state[1] + 1
        connection.execute("UPDATE state SET last_person_id = %s", (target,))
        _copy_people(connection, [(target, name)])
    return _give(connection, state, moving, target)


def _give(
    connection: Connection, state: State, face_ids: Sequence[int], target: int
) -> tuple[int, int]:
    """Make faces another person's, but for photos that this person has already."""
    rows: Any = connection.execute(
        "SELECT face_id, person_id, record FROM face WHERE face_id = ANY(%s) ORDER BY face_id",
        (list(face_ids),),
        binary=True,
    ).fetchall()
    there: Any = connection.execute(
        "SELECT content_hash FROM photo WHERE person_id = %s", (target,), binary=True
    ).fetchall()
    taken = {bytes(row[0]) for row in there}
    moved, twice = [], []
    for face_id, source, sealed in rows:
        record = unseal("record", (face_id, source), sealed)
        content = _photo(record, face_id)
        if content in taken:
            twice.append(face_id)
            continue
        taken.add(content)
        moved.append(face_id)
        connection.execute(
            "UPDATE face SET person_id = %s, record = %s WHERE face_id = %s",
            (target, seal("record", (face_id, target), record), face_id),
        )
        changed = connection.execute(
            "UPDATE photo SET person_id = %s WHERE content_hash = %s AND person_id = %s",
            (target, content, source),
        )
        if changed.rowcount != 1:
            raise damaged("photo index", ())
    removals = _note_left(connection, state[2], moved)
    dropped = _remove(connection, (state[0], state[1], removals), twice)
    _forget_empty(connection, [row[1] for row in rows])
    return len(moved), dropped


def _remove(connection: Connection, state: State, face_ids: Sequence[int]) -> int:
    if not face_ids:
        return 0
    ids = sorted(face_ids)
    touched: set[str] = set()
    people: set[int] = set()
    for statement in (
        "DELETE FROM payload WHERE face_id = ANY(%s) RETURNING tableoid::regclass::text, 0",
        "DELETE FROM embedding WHERE face_id = ANY(%s) RETURNING tableoid::regclass::text, 0",
        "DELETE FROM photo WHERE face_id = ANY(%s) RETURNING tableoid::regclass::text, 0",
        "DELETE FROM face WHERE face_id = ANY(%s) RETURNING tableoid::regclass::text, person_id",
    ):
        rows: Any = connection.execute(statement, (ids,)).fetchall()
        touched |= {row[0] for row in rows}
        people |= {row[1] for row in rows}
    _mark(connection, touched)
    _note_left(connection, state[2], ids)
    _forget_empty(connection, people)
    return len(ids)


def _note_left(connection: Connection, removals: int, face_ids: Sequence[int]) -> int:
    """Note for readers that these faces left a person; how many have by now."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO removal VALUES(%s, %s)", list(enumerate(face_ids, start=removals + 1))
        )
    removals += len(face_ids)
    connection.execute("DELETE FROM removal WHERE number <= %s", (removals - REMOVALS_KEPT,))
    connection.execute("UPDATE state SET removals = %s", (removals,))
    return removals


def _forget_empty(connection: Connection, people: Iterable[int]) -> None:
    gone = connection.execute(
        "DELETE FROM person p WHERE person_id = ANY(%s)"
        " AND NOT EXISTS (SELECT FROM face f WHERE f.person_id = p.person_id)",
        (list(set(people)),),
    )
    if gone.rowcount:
        _mark(connection, {"person"})


def _mark(connection: Connection, tables: Iterable[str]) -> None:
    """Note that tables hold remains, to be written anew after the transaction."""
    for table in tables:
        connection.execute(
            "INSERT INTO dirty VALUES(%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET mark = EXCLUDED.mark",
            (table, os.urandom(16)),
        )


def find(connection: Connection, name: str) -> int | None:
    """The person's id, or None."""
    row: Any = connection.execute(
        "SELECT person_id FROM person WHERE name = %s", (name,)
    ).fetchone()
    return row and int(row[0])


def require(connection: Connection, who: str | int) -> int:
    """The id of the person of that name or id; GalleryError, with similar names, without one."""
    if isinstance(who, int):
        there = (
            0 < who <= LARGEST_ID
            and connection.execute("SELECT 1 FROM person WHERE person_id = %s", (who,)).fetchone()
        )
        if not there:
            raise no_person_id(who)
        return who
    person = find(connection, who)
    if person is None:
        rows = connection.execute("SELECT name FROM person LIMIT 10000").fetchall()
        raise no_person(who, [str(row[0]) for row in rows])
    return person


def _faces_of(connection: Connection, person: int) -> list[int]:
    rows: Any = connection.execute(
        "SELECT face_id FROM face WHERE person_id = %s ORDER BY face_id", (person,)
    ).fetchall()
    return [row[0] for row in rows]


def _photo(record: bytes, face_id: int) -> bytes:
    """The content hash that a record names."""
    try:
        return bytes.fromhex(json.loads(record)["content_hash"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged("record", (face_id,)) from error
