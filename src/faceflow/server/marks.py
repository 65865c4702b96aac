"""Not this person: what somebody decided about a face once is not offered to them again.

A mark ties the face of a search to a person. Later searches honour it where they show the same
face: the same photo with a box in the same place, or an embedding so close that it is the same
picture saved anew. Another photo of the same unknown person is not touched by it: whether two
photos show one person is what is to be found out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from faceflow.arrays import Float32
from faceflow.matching.score import embedding_cosine
from faceflow.server.ids import new_id
from faceflow.server.problems import not_found
from faceflow.server.state import PARTS, State

SAME_PICTURE = 0.94
"""Cosine of embeddings from which two photos are one picture; two photos of a person lie below.

Measured on LFW with the default network (benchmarks/service/same_picture.py): of 320 pictures
saved anew (JPEG of quality 60 to 95, half to one and a half times the size, cut by a tenth) 0.9%
lie below. Of 494 pairs of other photos of one person one lies above, two shots of one moment
(0.964); the next has 0.905.
"""
_SAME_PLACE = 0.5
"""Intersection over union of two boxes."""

PARTS.append(
    (
        "CREATE TABLE mark(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
        " gallery TEXT NOT NULL, person INTEGER NOT NULL, search TEXT NOT NULL,"
        " photo TEXT NOT NULL, box TEXT NOT NULL, digest TEXT NOT NULL,"
        " embedding BLOB NOT NULL, note TEXT NOT NULL, made TEXT NOT NULL, actor TEXT NOT NULL)",
        "CREATE INDEX mark_of_gallery ON mark(gallery, person)",
    )
)


@dataclass(frozen=True, slots=True)
class QueryFaceKey:
    """What a mark knows a face by.

    Attributes:
        photo: sha256 of the photo's bytes.
        box: x0, y0, x1, y1 in its pixels.
        digest: what made the embedding.
        embedding: (D,) float32.
    """

    photo: str
    box: Sequence[float]
    digest: str
    embedding: Float32


@dataclass(frozen=True, slots=True)
class MarkRow:
    """A mark as it is kept."""

    number: int
    id: str
    gallery: str
    person: int
    search: str
    photo: str
    note: str
    made: datetime
    actor: str


class Marks:
    """The marks of a service."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(
        self,
        connection: sqlite3.Connection,
        gallery: str,
        person: int,
        search: str,
        face: QueryFaceKey,
        *,
        note: str,
        actor: str,
    ) -> str:
        """Keep a mark; the id of the one that is there already where it says the same."""
        for row in connection.execute(
            "SELECT * FROM mark WHERE gallery = ? AND person = ?", (gallery, person)
        ):
            if _same(row, face):
                return str(row["id"])
        identity = new_id("m")
        connection.execute(
            "INSERT INTO mark VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                identity,
                gallery,
                person,
                search,
                face.photo,
                ",".join(repr(float(value)) for value in face.box),
                face.digest,
                face.embedding.astype("<f4").tobytes(),
                note,
                datetime.now(UTC).isoformat(),
                actor,
            ),
        )
        return identity

    def of(self, gallery: str, face: QueryFaceKey) -> dict[int, str]:
        """Who this face was marked not to be: person -> mark."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM mark WHERE gallery = ? ORDER BY number", (gallery,)
            ).fetchall()
        return {int(row["person"]): str(row["id"]) for row in rows if _same(row, face)}

    def get(self, gallery: str, identity: str) -> MarkRow:
        """One mark. Raises a problem, 404."""
        with self._state.reading() as connection:
            row = connection.execute(
                "SELECT * FROM mark WHERE gallery = ? AND id = ?", (gallery, identity)
            ).fetchone()
        if row is None:
            raise not_found(f"mark {identity[:40]!r}")
        return _row(row)

    def page(self, gallery: str, before: int | None, limit: int) -> list[MarkRow]:
        """Marks with a number below ``before``, the newest first."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM mark WHERE gallery = ? AND number < ? ORDER BY number DESC LIMIT ?",
                (gallery, 2**62 if before is None else before, limit),
            ).fetchall()
        return [_row(row) for row in rows]

    def remove(self, connection: sqlite3.Connection, gallery: str, identity: str) -> None:
        """Take a mark back. Raises a problem, 404."""
        done = connection.execute(
            "DELETE FROM mark WHERE gallery = ? AND id = ?", (gallery, identity)
        )
        if not done.rowcount:
            raise not_found(f"mark {identity[:40]!r}")

    @staticmethod
    def forget(connection: sqlite3.Connection, gallery: str, person: int | None = None) -> None:
        """Drop what was marked about a person who is gone, or a gallery."""
        if person is None:
            connection.execute("DELETE FROM mark WHERE gallery = ?", (gallery,))
        else:
            connection.execute(
                "DELETE FROM mark WHERE gallery = ? AND person = ?", (gallery, person)
            )


def _same(row: sqlite3.Row, face: QueryFaceKey) -> bool:
    if row["digest"] != face.digest:
        return False
    if row["photo"] == face.photo:
        return _overlap([float(value) for value in row["box"].split(",")], face.box) >= _SAME_PLACE
    kept = np.frombuffer(row["embedding"], "<f4").astype(np.float32)
    if kept.shape != face.embedding.shape:
        return False
    return float(embedding_cosine(face.embedding, kept[None])[0]) >= SAME_PICTURE


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return float(both / (areas - both))


def _row(row: sqlite3.Row) -> MarkRow:
    get = row.__getitem__
    return MarkRow(
        get("number"),
        get("id"),
        get("gallery"),
        get("person"),
        get("search"),
        get("photo"),
        get("note"),
        datetime.fromisoformat(get("made")),
        get("actor"),
    )
