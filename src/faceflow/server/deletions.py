"""Deleting people, faces and galleries: begun, done and certified, also across a kill.

A deletion is noted before anything is removed, in the transaction that erases it from cases, and
certified in the one that forgets what else the service knew. One that a kill cut short is taken up
again at the next start, so what was noted is always carried out.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from faceflow.errors import GalleryError
from faceflow.gallery import Gallery
from faceflow.server import schemas
from faceflow.server.audit import Audit
from faceflow.server.case_erasure import (
    Gone,
    cases_changed,
    erase_from_cases,
    former_people,
)
from faceflow.server.engine import Engine
from faceflow.server.ids import new_id, person_id
from faceflow.server.jobs import Jobs
from faceflow.server.marks import Marks
from faceflow.server.owners import is_gone, new_owner
from faceflow.server.people import Consents, Merges
from faceflow.server.problems import Problem, conflict, not_found
from faceflow.server.searches import Searches
from faceflow.server.state import PARTS, State

PARTS.append(
    (
        "CREATE TABLE deletion(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
        " gallery TEXT NOT NULL, what TEXT NOT NULL, subject INTEGER NOT NULL, faces INTEGER,"
        " reason TEXT NOT NULL, actor TEXT NOT NULL, requested TEXT NOT NULL, content TEXT)",
        # Of those that are not done: who does it, and what to forget elsewhere.
        "CREATE TABLE deletion_begun(deletion TEXT PRIMARY KEY, owner TEXT NOT NULL,"
        " name TEXT NOT NULL, face_ids TEXT NOT NULL)",
    )
)

What = Literal["person", "face", "gallery"]

_REMAINS = (
    "Copies outside of the service: backups, snapshots of the file system, exports, case files. "
    "What a disk keeps of overwritten blocks. In cases: ids, the conclusions that were chosen, and "
    "hashes of what was erased there. In searches that no case keeps, until they expire: ids and "
    "scores, and pictures of the photo that was asked about."
)
_REMOVED = "the file was removed from its folder; its blocks are free and were not overwritten"


@dataclass(frozen=True, slots=True)
class Begun:
    """A deletion that was noted; ``name`` and ``face_ids`` are of the person, or of the face."""

    id: str
    gallery: str
    what: What
    subject: int
    faces: int
    reason: str
    actor: str
    requested: str
    name: str = field(repr=False)
    face_ids: tuple[int, ...]

    @classmethod
    def of(cls, row: sqlite3.Row) -> Begun:
        """As it was kept."""
        fields = {one: row[one] for one in cls.__slots__}
        return cls(**fields | {"face_ids": tuple(json.loads(row["face_ids"]))})


class Deletions:
    """The deletions of a service, and their certificates."""

    def __init__(self, state: State, audit: Audit, engine: Engine, consents: Consents) -> None:
        self._state, self._audit, self._engine = state, audit, engine
        self._consents = consents
        self._owner = new_owner()
        # Two requests for one person: the second waits, and finds nobody.
        self._lock = threading.Lock()

    def person(self, gallery: str, number: int, *, actor: str, reason: str = "") -> str:
        """Delete a person; the certificate's id.

        Raises:
            Problem: 404, no such person; 409, on legal hold.
        """
        with self._lock:
            held = self._consents.of(gallery, [number]).get(number)
            opened = self._engine.gallery(gallery)
            name = _person(opened, number).name
            if held is not None and held.legal_hold:
                raise _held()
            faces = [face.face_id for face in opened.faces(name)]
            return self._carry_out(
                self._begin(gallery, "person", number, len(faces), reason, actor, name, faces)
            )

    def face(self, gallery: str, face_id: int, *, actor: str, reason: str = "") -> str:
        """Delete a face, and its person with the last one; the certificate's id.

        Raises:
            Problem: 404, no such face; 409, its person is on legal hold.
        """
        with self._lock:
            opened = self._engine.gallery(gallery)
            try:
                name = opened.record(face_id).person
            except GalleryError:
                raise not_found(f"face {face_id}") from None
            number = opened.person(name).person_id
            held = self._consents.of(gallery, [number]).get(number)
            if held is not None and held.legal_hold:
                raise _held()
            return self._carry_out(
                self._begin(gallery, "face", face_id, 1, reason, actor, "", [face_id])
            )

    def gallery(self, name: str, *, actor: str, reason: str = "") -> str:
        """Delete a gallery with all in it; the certificate's id.

        Raises:
            Problem: 404, no such gallery; 409, somebody in it is on legal hold.
        """
        with self._lock:
            opened = self._engine.gallery(name)
            people = [person.person_id for person in opened.people()]
            if any(one.legal_hold for one in self._consents.of(name, people).values()):
                raise _held()
            if not self._engine.places.removes:
                self._engine.delete(name)  # which says why not
            return self._carry_out(self._begin(name, "gallery", 0, len(opened), reason, actor))

    def resume(self) -> int:
        """Carry out what a kill cut short; how many. What other processes do now is theirs."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM deletion d JOIN deletion_begun b ON b.deletion = d.id"
                " WHERE d.content IS NULL ORDER BY d.number"
            ).fetchall()
        done = 0
        with self._lock:
            for row in rows:
                if not is_gone(row["owner"], self._owner) or not self._take_over(row):
                    continue
                self._carry_out(Begun.of(row))
                done += 1
        return done

    def _take_over(self, row: sqlite3.Row) -> bool:
        """Whether this process, of all that start now, has the deletion from here on."""
        with self._state.writing() as connection:
            taken = connection.execute(
                "UPDATE deletion_begun SET owner = ? WHERE deletion = ? AND owner = ?",
                (self._owner, row["id"], row["owner"]),
            )
        return bool(taken.rowcount)

    def certificate(self, gallery: str, identity: str) -> schemas.Certificate:
        """One certificate. Raises a problem, 404."""
        with self._state.reading() as connection:
            row = connection.execute(
                "SELECT content FROM deletion WHERE gallery = ? AND id = ?", (gallery, identity)
            ).fetchone()
        if row is None or row[0] is None:
            raise not_found(f"certificate {identity[:40]!r}")
        return schemas.Certificate.model_validate_json(row[0])

    def page(
        self, gallery: str, after: int, limit: int
    ) -> tuple[list[schemas.Certificate], int | None]:
        """Certificates behind a number, and the last one's number where more may follow."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT number, content FROM deletion WHERE gallery = ? AND number > ?"
                " AND content IS NOT NULL ORDER BY number LIMIT ?",
                (gallery, after, limit),
            ).fetchall()
        found = [schemas.Certificate.model_validate_json(row[1]) for row in rows]
        return found, int(rows[-1][0]) if len(rows) == limit else None

    def _begin(
        self,
        gallery: str,
        what: What,
        subject: int,
        faces: int,
        reason: str,
        actor: str,
        name: str = "",
        face_ids: Sequence[int] = (),
    ) -> Begun:
        requested = datetime.now(UTC).isoformat()
        begun = Begun(
            new_id("d"),
            gallery,
            what,
            subject,
            faces,
            reason,
            actor,
            requested,
            name,
            tuple(face_ids),
        )
        with self._state.writing() as connection:
            connection.execute(
                "INSERT INTO deletion VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (begun.id, gallery, what, subject, faces, reason, actor, requested),
            )
            connection.execute(
                "INSERT INTO deletion_begun VALUES(?, ?, ?, ?)",
                (begun.id, self._owner, name, json.dumps(begun.face_ids)),
            )
            self._audit.append(
                actor,
                f"begin to delete a {what}",
                gallery=gallery,
                subjects=(_subject(begun),),
                connection=connection,
                deletion=begun.id,
                cases=self._erase_from_cases(connection, begun),
            )
        return begun

    def _carry_out(self, begun: Begun) -> str:
        erased, remains = self._remove(begun)
        with self._state.writing() as connection:
            self._erase_from_late_cases(connection, begun)
            cases = cases_changed(connection, begun.id)
            self._forget(connection, begun)
            self._audit.append(
                begun.actor,
                f"delete a {begun.what}",
                gallery=begun.gallery,
                subjects=(_subject(begun),),
                connection=connection,
                deletion=begun.id,
                faces=begun.faces,
            )
            number, value = self._audit.head()
            certificate = schemas.Certificate(
                id=begun.id,
                gallery=begun.gallery,
                what=begun.what,
                subject=_subject(begun),
                faces=begun.faces,
                cases=cases,
                reason=begun.reason,
                requested=datetime.fromisoformat(begun.requested),
                finished=datetime.now(UTC),
                erased=erased,
                method=_REMOVED if begun.what == "gallery" else self._engine.places.rows_go,
                remains=" ".join((_REMAINS, *(f"{one[:1].upper()}{one[1:]}." for one in remains))),
                audit=schemas.AuditHead(number=number, hash=value),
            )
            connection.execute(
                "UPDATE deletion SET content = ? WHERE id = ?",
                (certificate.model_dump_json(), begun.id),
            )
            connection.execute("DELETE FROM deletion_begun WHERE deletion = ?", (begun.id,))
        self._state.erase()
        return begun.id

    def _erase_from_cases(self, connection: sqlite3.Connection, begun: Begun) -> list[str]:
        """Erase from cases what is about to go, while the gallery still tells whose it is."""
        name = begun.gallery
        if begun.what == "gallery":
            return erase_from_cases(connection, Gone(name, None, frozenset(), begun.id))
        gallery = self._engine.gallery(name)
        if begun.what == "person":
            person = gallery.person(begun.subject)
            faces = {face.face_id for face in gallery.faces(person.name)}
        else:
            person = gallery.person(gallery.record(begun.subject).person)
            faces = {begun.subject}
        people: set[int] = set()
        if len(faces) == person.faces:  # with the last face its person goes
            people = former_people(connection, name, person.person_id)
        gone = Gone(name, people, faces, begun.id)
        return erase_from_cases(connection, gone, self._consents.held(name))

    def _erase_from_late_cases(self, connection: sqlite3.Connection, begun: Begun) -> None:
        """The same of cases that were opened before the gallery had let go."""
        people: set[int] | None = set()
        if begun.what == "gallery":
            people = None
        elif begun.what == "person":
            people = former_people(connection, begun.gallery, begun.subject)
        gone = Gone(begun.gallery, people, frozenset(begun.face_ids), begun.id)
        erase_from_cases(connection, gone, self._consents.held(begun.gallery))

    def _remove(self, begun: Begun) -> tuple[bool, tuple[str, ...]]:
        """Remove it if it is still there; whether nothing is left, and where copies can be."""
        try:
            if begun.what == "gallery":
                self._engine.delete(begun.gallery)
                return False, ()
            gallery = self._engine.gallery(begun.gallery)
            if begun.what == "face":
                change = gallery.remove_face(begun.subject)
            else:
                change = gallery.remove_person(begun.subject)
            return change.erased, change.remains
        except Problem:  # 404: it went before the kill
            return begun.what != "gallery", ()
        except GalleryError:
            if not self._gone(begun):
                raise
            return True, ()

    def _gone(self, begun: Begun) -> bool:
        gallery = self._engine.gallery(begun.gallery)
        try:
            if begun.what == "face":
                gallery.record(begun.subject)
            else:
                _person(gallery, begun.subject)
        except (GalleryError, Problem):
            return True
        return False

    def _forget(self, connection: sqlite3.Connection, begun: Begun) -> None:
        if begun.what == "gallery":
            for part in (Consents, Merges, Marks, Searches, Jobs):
                part.forget(connection, begun.gallery)
            return
        Jobs.forget_person(connection, begun.gallery, begun.name, begun.face_ids)
        gone = [begun.subject] if begun.what == "person" else self._left_empty(begun.gallery)
        for number in gone:
            Consents.set(connection, begun.gallery, number, None)
            Merges.forget(connection, begun.gallery, number)
            Marks.forget(connection, begun.gallery, number)

    def _left_empty(self, gallery: str) -> list[int]:
        """People with consent or marks who have no face any more."""
        with self._state.reading() as connection:
            known = connection.execute(
                "SELECT person FROM consent WHERE gallery = ?1"
                " UNION SELECT person FROM mark WHERE gallery = ?1",
                (gallery,),
            ).fetchall()
        there = {person.person_id for person in self._engine.gallery(gallery).people()}
        return [int(row[0]) for row in known if int(row[0]) not in there]


def _person(gallery: Gallery, number: int) -> schemas.Person:
    """The person of that number. Raises a problem, 404."""
    try:
        found = gallery.person(number)
    except GalleryError:
        raise not_found(f"person {person_id(number)!r}") from None
    return schemas.Person(id=person_id(number), name=found.name, faces=found.faces, consent=None)


def _subject(begun: Begun) -> str:
    if begun.what == "gallery":
        return begun.gallery
    return person_id(begun.subject) if begun.what == "person" else str(begun.subject)


def _held() -> Problem:
    return conflict(
        "legal-hold",
        "A person on legal hold is not deleted",
        todo="end the hold in the person's consent first",
    )
