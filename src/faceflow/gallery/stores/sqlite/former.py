"""Galleries of former formats, where each embedding lies in its face's row: read, and brought on.

Format 3 keeps embeddings in blocks. A gallery opened for writing is brought to it in one
transaction, which copies the embeddings and leaves the rows of faces as they are; one opened for
reading is read as it is.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.errors import GalleryError
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.stores.seal import damaged, unseal
from faceflow.gallery.stores.sqlite import schema
from faceflow.gallery.stores.sqlite.blocks import FACES_PER_BLOCK, Blocks, Rows, rows_of
from faceflow.gallery.stores.sqlite.session import Session
from faceflow.gallery.stores.sqlite.view import SqliteView, require_unit_length
from faceflow.gallery.stores.store import Revision

_AT_ONCE = 512


def open_view(session: Session, header: GalleryHeader, blocks: Blocks) -> SqliteView:
    """A view that reads the format which the state behind the session has."""
    with session.reading() as connection:
        former = schema.version(connection) < 3
    return (FormerView if former else SqliteView)(session, header, blocks)


class FormerView(SqliteView):
    """A state of format 1 or 2."""

    def removed_since(self, revision: Revision) -> Int64 | None:
        """Nobody noted it."""
        return np.empty(0, np.int64) if revision.removals == self.revision().removals else None

    def moved_since(self, revision: Revision) -> Int64 | None:
        """Nobody noted it."""
        return self.removed_since(revision)

    def token(self) -> str:
        """A digest over all that can change without the number of faces changing."""
        digest = hashlib.sha256(repr(self.revision()).encode())
        with self._reading() as connection:
            for statement in (
                "SELECT * FROM person_name ORDER BY person_id",
                "SELECT * FROM setting ORDER BY name",
                "SELECT face_id, person_id FROM face INDEXED BY face_of_person ORDER BY person_id",
            ):
                for row in connection.execute(statement):
                    digest.update(repr(row).encode())
        return digest.hexdigest()[:32]

    def embeddings(self, after: int) -> Iterator[tuple[Int64, Float32]]:
        """Blocks of 512 faces; no statement stays open between them."""
        while True:
            with self._reading() as connection:
                rows = _next(connection, after)
            if not rows:
                return
            ids = np.array([row[0] for row in rows], dtype=np.int64)
            yield ids, self._embedding(rows)
            after = int(ids[-1])

    def embeddings_of(self, face_ids: Sequence[int]) -> Float32:
        """Embeddings, checksums compared."""
        found = self._fetch("embedding", face_ids)
        return self._embedding([(i, found[i][0]) for i in face_ids])

    def _embedding(self, rows: Sequence[tuple[int, object]]) -> Float32:
        """(len(rows), D) from ids and sealed embeddings."""
        size = self.header.embedding_size
        vectors = np.empty((len(rows), size), np.float32)
        for vector, (face_id, sealed) in zip(vectors, rows, strict=True):
            vector[:] = _vector(face_id, sealed, size)
        return require_unit_length([row[0] for row in rows], vectors)


def fill(connection: sqlite3.Connection, blocks: Blocks, size: int) -> None:
    """Write the blocks of all faces; a damaged embedding stays told as damaged.

    Args:
        connection: to a gallery of a former format with tables of this one, in a transaction.
        blocks: of the gallery.
        size: D.
    """
    after = 0
    assert _AT_ONCE % FACES_PER_BLOCK == 0
    while rows := _next(connection, after):
        ids = [row[0] for row in rows]
        matrix = np.zeros((len(rows), size), np.float32)
        wrong = []
        for at, (face_id, sealed) in enumerate(rows):
            try:
                matrix[at] = _vector(face_id, sealed, size)
            except GalleryError:
                wrong.append(at)
        made = rows_of(ids, matrix)
        seals = made.seals.copy()
        seals[wrong] ^= 1
        blocks.append_rows(connection, Rows(made.ids, seals, matrix))
        after = ids[-1]


def _next(connection: sqlite3.Connection, after: int) -> list[tuple[int, object]]:
    return connection.execute(
        f"SELECT face_id, embedding FROM face WHERE face_id > ? ORDER BY face_id LIMIT {_AT_ONCE}",
        (after,),
    ).fetchall()


def _vector(face_id: int, sealed: object, size: int) -> Float32:
    content = unseal("embedding", (face_id,), sealed)
    if len(content) != size * 4:
        raise damaged("embedding", (face_id,))
    return np.frombuffer(content, "<f4").astype(np.float32, copy=False)
