"""Enrolment of many photos: taken at once, worked on one by one, across restarts.

A job's photos lie in the state file until each is done, and are overwritten there then. What
became of each is told in the order in which they were done, so that a client who lost the
connection goes on where it was. One process works on a job at a time; when that process dies,
another takes over.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from faceflow.arrays import Float64
from faceflow.errors import FaceflowError, GalleryError, ImageError, InputError, NoFaceError
from faceflow.gallery import Gallery, person_name
from faceflow.server import schemas
from faceflow.server.audit import Audit
from faceflow.server.engine import Engine
from faceflow.server.enrolling import enroll, enrolled
from faceflow.server.ids import new_id, person_id
from faceflow.server.owners import is_gone, new_owner
from faceflow.server.photos import Upload
from faceflow.server.problems import Problem, not_found
from faceflow.server.quality import quality_of
from faceflow.server.state import PARTS, State

PARTS.append(
    (
        "CREATE TABLE job(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
        " gallery TEXT NOT NULL, actor TEXT NOT NULL, status TEXT NOT NULL, accept TEXT NOT NULL,"
        " created TEXT NOT NULL, finished TEXT, detail TEXT, owner TEXT, lease REAL)",
        "CREATE TABLE job_photo(job TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,"
        " person TEXT NOT NULL, sha256 TEXT NOT NULL, data BLOB, outcome TEXT NOT NULL,"
        " reason TEXT, detail TEXT, face INTEGER, warnings TEXT NOT NULL, turn INTEGER,"
        " PRIMARY KEY(job, number))",
        "CREATE INDEX job_photo_by_turn ON job_photo(job, turn)",
    )
)

REFUSED = ("several faces", "too small", "blurred", "extreme pose", "mostly covered")
"""Why a photo with a face is left out, unless the job accepts it."""

log = logging.getLogger("faceflow.server")

_LEASE = 120.0
_PAUSE = 1.0
"""Seconds between looks for work that another process was given."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a photo."""

    outcome: schemas.PhotoOutcome
    reason: str | None = None
    detail: str | None = None
    face: int | None = None
    warnings: tuple[str, ...] = ()


class Jobs:
    """The jobs of a service."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(
        self,
        connection: sqlite3.Connection,
        gallery: str,
        photos: Sequence[tuple[str, Upload]],
        *,
        accept: Sequence[str],
        actor: str,
    ) -> str:
        """Keep a job with its photos, each with the person's name or ""; the job's id."""
        identity = new_id("j")
        connection.execute(
            "INSERT INTO job VALUES(NULL, ?, ?, ?, 'queued', ?, ?, NULL, NULL, NULL, NULL)",
            (identity, gallery, actor, json.dumps(list(accept)), datetime.now(UTC).isoformat()),
        )
        connection.executemany(
            "INSERT INTO job_photo VALUES(?, ?, ?, ?, ?, ?, 'waiting', NULL, NULL, NULL, '[]',"
            " NULL)",
            [
                (identity, number, photo.name, person, photo.sha256, photo.data)
                for number, (person, photo) in enumerate(photos)
            ],
        )
        return identity

    def get(self, gallery: str, identity: str) -> schemas.Job:
        """One job. Raises a problem, 404."""
        with self._state.reading() as connection:
            row = connection.execute(
                f"{_COUNTED} WHERE j.gallery = ? AND j.id = ? GROUP BY j.number",
                (gallery, identity),
            ).fetchone()
        if row is None:
            raise not_found(f"job {identity[:40]!r}")
        return _job(row)

    def page(
        self, gallery: str, before: int | None, limit: int
    ) -> tuple[list[schemas.Job], int | None]:
        """Jobs with a number below, the newest first; the last one's where more may follow."""
        with self._state.reading() as connection:
            rows = connection.execute(
                f"{_COUNTED} WHERE j.gallery = ? AND j.number < ? GROUP BY j.number"
                " ORDER BY j.number DESC LIMIT ?",
                (gallery, 2**62 if before is None else before, limit),
            ).fetchall()
        last = int(rows[-1]["number"]) if len(rows) == limit else None
        return [_job(row) for row in rows], last

    def photos(self, identity: str, after: int, limit: int) -> list[schemas.JobPhoto]:
        """The photos of a job with a number above ``after``."""
        with self._state.reading() as connection:
            rows = connection.execute(
                f"SELECT {_PHOTO} FROM job_photo WHERE job = ? AND number > ?"
                " ORDER BY number LIMIT ?",
                (identity, after, limit),
            ).fetchall()
        return [_photo(row) for row in rows]

    def done_since(self, identity: str, turn: int) -> list[tuple[int, schemas.JobPhoto]]:
        """What was done after a turn, in the order in which it was: (turn, photo)."""
        with self._state.reading() as connection:
            rows = connection.execute(
                f"SELECT {_PHOTO} FROM job_photo WHERE job = ? AND turn > ?"
                " ORDER BY turn LIMIT 500",
                (identity, turn),
            ).fetchall()
        return [(int(row["turn"]), _photo(row)) for row in rows]

    def cancel(self, connection: sqlite3.Connection, identity: str) -> None:
        """Do no more of a job; what was done stays."""
        now = datetime.now(UTC).isoformat()
        done = connection.execute(
            "UPDATE job SET status = 'cancelled', finished = ? WHERE id = ?"
            " AND status IN ('queued', 'running')",
            (now, identity),
        )
        if done.rowcount:
            _give_up(connection, identity, "cancelled")

    @staticmethod
    def forget(connection: sqlite3.Connection, gallery: str) -> None:
        """Drop all jobs of a gallery that is gone: the next one of its name is another."""
        connection.execute(
            "DELETE FROM job_photo WHERE job IN (SELECT id FROM job WHERE gallery = ?)", (gallery,)
        )
        connection.execute("DELETE FROM job WHERE gallery = ?", (gallery,))

    @staticmethod
    def forget_person(
        connection: sqlite3.Connection, gallery: str, name: str, faces: Sequence[int]
    ) -> None:
        """Strike out who was in photos: those that became these faces, or are of that name."""
        connection.execute(
            "UPDATE job_photo SET name = '', person = '', detail = NULL"
            " WHERE job IN (SELECT id FROM job WHERE gallery = ?) AND outcome != 'waiting'"
            " AND (person = ? OR face IN (SELECT value FROM json_each(?)))",
            (gallery, name, json.dumps(list(faces))),
        )


class Runner:
    """Works on jobs, one photo at a time, in a thread of its own."""

    def __init__(self, state: State, audit: Audit, engine: Engine) -> None:
        self._state, self._audit, self._engine = state, audit, engine
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._owner = new_owner()
        self._thread = threading.Thread(target=self._work, name="faceflow-jobs", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is a new job."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the photo under way and let others have the rest."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._state.writing() as connection:
            connection.execute(
                "UPDATE job SET status = 'queued', owner = NULL, lease = NULL WHERE owner = ?"
                " AND status = 'running'",
                (self._owner,),
            )

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self._step()
            except Exception as error:
                # The disk is full, or the state file is busy: it may be better later.
                log.error("a job cannot go on now: %s", type(error).__name__)
                busy = False
            if not busy:
                self._wake.wait(_PAUSE)
                self._wake.clear()

    def _step(self) -> bool:
        """Do one photo; whether there was one."""
        job = self._claim()
        if job is None:
            return False
        with self._state.reading() as connection:
            row = connection.execute(
                "SELECT * FROM job_photo WHERE job = ? AND outcome = 'waiting'"
                " ORDER BY number LIMIT 1",
                (job["id"],),
            ).fetchone()
        if row is None:
            self._finish(job["id"], "done", None)
            return True
        try:
            gallery = self._engine.gallery(job["gallery"])
        except (Problem, GalleryError):
            self._finish(job["id"], "failed", "the gallery cannot be opened, or is gone")
            return True
        self._note(job, row["number"], self._enroll(gallery, job, row), gallery)
        return True

    def _claim(self) -> sqlite3.Row | None:
        """A job for this process: its own, or one that nobody is working on."""
        now = time.time()
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM job WHERE status IN ('queued', 'running') ORDER BY number"
            ).fetchall()
        free = [row for row in rows if self._free(row, now)]
        if not free:
            return None
        row: sqlite3.Row = free[0]
        with self._state.writing() as connection:
            done = connection.execute(
                "UPDATE job SET status = 'running', owner = ?, lease = ? WHERE id = ?"
                " AND owner IS ? AND status IN ('queued', 'running')",
                (self._owner, now + _LEASE, row["id"], row["owner"]),
            )
        return row if done.rowcount else None

    def _free(self, row: sqlite3.Row, now: float) -> bool:
        owner = row["owner"]
        if owner is None or owner == self._owner or row["lease"] < now:
            return True
        return is_gone(owner, self._owner)

    def _enroll(self, gallery: Gallery, job: sqlite3.Row, row: sqlite3.Row) -> Outcome:
        try:
            name = person_name(row["person"])
        except InputError as error:
            return Outcome("skipped", "no person", error.what)
        try:
            if name in gallery.people_with(row["sha256"]):
                return self._known(gallery, job, row, name)
            _, faces = self._engine.analyze(gallery, bytes(row["data"]))
            face = max(faces, key=lambda one: _area(one.box))
            quality = quality_of(face, gallery.options().model)
            found = [*(["several faces"] if len(faces) > 1 else []), *quality.warnings]
            refused = [
                one for one in found if one in REFUSED and one not in json.loads(job["accept"])
            ]
            if refused:
                return Outcome("skipped", refused[0], None, None, tuple(found))
            source = row["name"] or f"photo {row['number']}"
            added = enroll(gallery, name, face, source=source, content_hash=row["sha256"])
            if added is None:
                return self._known(gallery, job, row, name)
            return Outcome("added", None, None, added, tuple(found))
        except NoFaceError as error:
            return Outcome("skipped", "no face", error.todo)
        except ImageError as error:
            return Outcome(
                "skipped", "unreadable", ". ".join(filter(None, (error.what, error.why)))
            )
        except FaceflowError as error:
            return Outcome("skipped", "failed", ". ".join(filter(None, (error.what, error.why))))

    def _known(self, gallery: Gallery, job: sqlite3.Row, row: sqlite3.Row, name: str) -> Outcome:
        """The person has this photo: a duplicate, or added by this job just before a kill."""
        with self._state.reading() as connection:
            told = connection.execute(
                "SELECT 1 FROM job_photo WHERE job = ? AND sha256 = ? AND outcome = 'added'",
                (job["id"], row["sha256"]),
            ).fetchone()
        face = enrolled(gallery, name, row["sha256"])
        if face is None:
            return Outcome("duplicate", "duplicate")
        if told is None and face.created >= datetime.fromisoformat(job["created"]):
            return Outcome("added", face=face.face_id)
        return Outcome("duplicate", "duplicate", None, face.face_id)

    def _note(self, job: sqlite3.Row, number: int, outcome: Outcome, gallery: Gallery) -> None:
        with self._state.writing() as connection:
            turn = (
                1
                + connection.execute(
                    "SELECT coalesce(max(turn), 0) FROM job_photo WHERE job = ?", (job["id"],)
                ).fetchone()[0]
            )
            # A job that was cancelled meanwhile: what was added stays, and is told. One that is
            # gone with its gallery is not.
            noted = connection.execute(
                "UPDATE job_photo SET outcome = ?, reason = ?, detail = ?, face = ?, warnings = ?,"
                " data = NULL, turn = coalesce(turn, ?) WHERE job = ? AND number = ?",
                (
                    outcome.outcome,
                    outcome.reason,
                    outcome.detail,
                    outcome.face,
                    json.dumps(outcome.warnings),
                    turn,
                    job["id"],
                    number,
                ),
            )
            if noted.rowcount and outcome.outcome == "added" and outcome.face is not None:
                self._audit.append(
                    job["actor"],
                    "enroll a face",
                    gallery=job["gallery"],
                    subjects=(str(outcome.face),),
                    connection=connection,
                    job=job["id"],
                    person=_person_of(gallery, outcome.face),
                    digest=gallery.header.features_digest,
                )

    def _finish(self, identity: str, status: str, detail: str | None) -> None:
        with self._state.writing() as connection:
            connection.execute(
                "UPDATE job SET status = ?, detail = ?, finished = ?, owner = NULL, lease = NULL"
                " WHERE id = ? AND status = 'running'",
                (status, detail, datetime.now(UTC).isoformat(), identity),
            )
            if status == "failed":
                _give_up(connection, identity, "skipped")
        self._state.erase()


def _area(box: Sequence[float] | Float64) -> float:
    """Pixels of a box."""
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _person_of(gallery: Gallery, face: int) -> str:
    try:
        return person_id(gallery.person(gallery.record(face).person).person_id)
    except GalleryError:  # deleted meanwhile
        return ""


def _give_up(connection: sqlite3.Connection, identity: str, outcome: str) -> None:
    """Nothing more is done of a job: its other photos are dropped, and told so."""
    first = connection.execute(
        "SELECT coalesce(max(turn), 0) FROM job_photo WHERE job = ?", (identity,)
    ).fetchone()[0]
    rows = connection.execute(
        "SELECT number FROM job_photo WHERE job = ? AND outcome = 'waiting' ORDER BY number",
        (identity,),
    ).fetchall()
    connection.executemany(
        "UPDATE job_photo SET outcome = ?, reason = ?, data = NULL, turn = ?"
        " WHERE job = ? AND number = ?",
        [
            (outcome, "failed" if outcome == "skipped" else None, first + n, identity, row[0])
            for n, row in enumerate(rows, start=1)
        ],
    )


_PHOTO = "number, name, person, outcome, reason, detail, face, warnings, turn"
_COUNTED = (
    "SELECT j.*, count(p.number) AS photos, count(p.turn) AS done,"
    " total(p.outcome = 'added') AS added, total(p.outcome = 'duplicate') AS duplicates,"
    " total(p.outcome = 'skipped') AS skipped FROM job j LEFT JOIN job_photo p ON p.job = j.id"
)


def _job(row: sqlite3.Row) -> schemas.Job:
    get = row.__getitem__
    return schemas.Job(
        id=get("id"),
        gallery=get("gallery"),
        status=get("status"),
        photos=get("photos"),
        done=get("done"),
        added=int(get("added")),
        duplicates=int(get("duplicates")),
        skipped=int(get("skipped")),
        created=datetime.fromisoformat(get("created")),
        finished=None if get("finished") is None else datetime.fromisoformat(get("finished")),
        detail=get("detail"),
    )


def _photo(row: sqlite3.Row) -> schemas.JobPhoto:
    get = row.__getitem__
    return schemas.JobPhoto(
        number=get("number"),
        name=get("name"),
        person=get("person"),
        outcome=get("outcome"),
        reason=get("reason"),
        detail=get("detail"),
        face_id=get("face"),
        warnings=json.loads(get("warnings")),
    )
