"""Fuzz target: a gallery file, opened read-only, read whole, then changed.

The input is no whole file, which would be mostly patches, but a list of edits of one: the first
byte says which (0: the bytes of the file, 1: SQL run on it with a writable schema, 2: rows with
right checksums, as a stranger would write them).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
import tempfile
from pathlib import Path

import numpy as np

from faceflow.errors import FaceflowError
from faceflow.features import FaceFeatures
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.stores.seal import seal
from faceflow.gallery.stores.sqlite.rows import seal_name


@functools.cache
def _sound() -> bytes:
    """A gallery of six faces."""
    rng = np.random.default_rng(0)
    faces = FaceFeatures.from_maps(rng.standard_normal((6, 4)), rng.standard_normal((6, 4, 2, 2)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.faceflow"
        with Gallery.create(
            path, network_name="n", digest="d", embedding_size=4, grid=(2, 2), channels=4
        ) as gallery:
            gallery.enroll(
                Enrolment(f"P{i % 3}", f"{i}.jpg", hashlib.sha256(bytes([i])).hexdigest(), faces[i])
                for i in range(6)
            )
            gallery.update_settings({"alpha": 0.5})
        return path.read_bytes()


def one(data: bytes) -> None:
    """Answers or a GalleryError with a text fit for a terminal, in bounded time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.faceflow"
        path.write_bytes(_sound())
        kind, edits = data[:1], data[1:]
        if kind == b"\1":
            _run(path, edits)
        elif kind == b"\2":
            _forge(path, edits)
        else:
            path.write_bytes(_patched(edits))
        try:
            _use(path)
        except FaceflowError as error:
            assert len(str(error)) < 2000, "an error's text has no end"


def _patched(edits: bytes) -> bytes:
    """Edits are four bytes of place, one of length, and what is written there."""
    raw = bytearray(_sound())
    while len(edits) > 5:
        at, size = int.from_bytes(edits[:4], "big") % len(raw), edits[4]
        raw[at : at + size] = edits[5 : 5 + size]
        edits = edits[5 + size :]
    return bytes(raw)


def _run(path: Path, script: bytes) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    connection.set_progress_handler(lambda: 1, 10_000)
    for statement in script.decode(errors="replace").split(";;"):
        # What SQLite does not take is no input for us.
        with contextlib.suppress(sqlite3.Error, ValueError, sqlite3.Warning):
            if "attach" not in statement.lower() and "vacuum" not in statement.lower():
                connection.execute(statement)
    with contextlib.suppress(sqlite3.Error):
        connection.close()


def _forge(path: Path, content: bytes) -> None:
    """One kind of content for every row that takes it, with the right checksums."""
    which, content = content[:1], content[1:]
    connection = sqlite3.connect(path, isolation_level=None)
    if which == b"h":
        connection.execute("UPDATE header SET content = ?", (seal("header", (), content),))
    elif which == b"s":
        value = seal("setting alpha", (), content)
        connection.execute("UPDATE setting SET content = ?", (value,))
    elif which == b"n":
        name = content.decode(errors="replace")
        value = (name, seal_name(1, name))
        connection.execute("UPDATE person_name SET name = ?, seal = ? WHERE person_id = 1", value)
    elif which in (b"e", b"p", b"t"):
        kind = {b"e": "embedding", b"p": "patches", b"t": "thumbnail"}[which]
        value = (seal(kind, (1,), content),)
        connection.execute(f"UPDATE face SET {kind} = ? WHERE face_id = 1", value)
    else:
        value = (seal("record", (1, 1), content),)
        connection.execute("UPDATE face SET record = ? WHERE face_id = 1", value)
    connection.close()


def _use(path: Path) -> None:
    with Gallery.open(path, readonly=True) as gallery:
        header = gallery.header
        records = gallery.faces()
        for record in records:
            assert record.person.isprintable()
            assert record.source.isprintable()
        for name, value in gallery.settings.items():
            assert isinstance(name, str), value
        gallery.people()
        ids = [record.face_id for record in records]
        with contextlib.suppress(FaceflowError):
            gallery.check()
        for face_id in ids:
            with contextlib.suppress(FaceflowError):
                gallery.thumbnail(face_id)
        features = gallery.features(ids) if ids else None
        if features is not None:
            assert np.isfinite(features.patches).all()
            assert np.isfinite(gallery.codes(ids)[1]).all()
            found = gallery.search(features, k=5)
            assert np.isfinite(found.cosine[found.face_ids > 0]).all()
    with Gallery.open(path) as gallery:
        assert gallery.header == header
        rng = np.random.default_rng(1)
        face = FaceFeatures.from_maps(
            rng.standard_normal((1, 4)), rng.standard_normal((1, 4, 2, 2))
        )
        gallery.enroll([Enrolment("New", "new.jpg", "f" * 64, face)])
        gallery.remove_person("New")
