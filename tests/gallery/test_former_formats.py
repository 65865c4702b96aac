"""Galleries of formats 1 and 2 are read as they are and brought to format 3 by writing."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceflow.errors import GalleryError
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.stores.seal import seal
from faceflow.gallery.stores.sqlite import former
from faceflow.gallery.stores.sqlite.blocks import Blocks

Make = Callable[..., list[Enrolment]]
Start = Callable[..., subprocess.Popen[str]]


def make_former(path: Path, version: int, *, size: int = 32) -> None:
    """Take a closed gallery back to format 1 or 2: embeddings of ``size`` numbers in the rows."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    blocks, after = Blocks(size, 1024), 0
    while (found := blocks.after(connection, after)) is not None:
        for face_id, vector in zip(*found, strict=True):
            connection.execute(
                "UPDATE face SET embedding = ? WHERE face_id = ?",
                (seal("embedding", (int(face_id),), vector.tobytes()), int(face_id)),
            )
        after = int(found[0][-1])
    for table in ["embedding_block", "removal", "lineage"][: 3 if version == 1 else 2]:
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    connection.close()


@pytest.fixture(params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def old(gallery: Gallery, enrolments: Make, version: int) -> Path:
    """150 faces, more than two blocks, some removed."""
    gallery.enroll(enrolments(150, crops=True))
    for face_id in (3, 64, 65, 149):
        gallery.remove_face(face_id)
    gallery.update_settings({"a": 1})
    gallery.close()
    make_former(gallery.path, version)
    return gallery.path


def format_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(found)


def state(gallery: Gallery, items: list[Enrolment]) -> list[object]:
    ids = [record.face_id for record in gallery.faces()]
    found = gallery.search(items[17].features, k=200)
    return [
        gallery.faces(),
        gallery.people(),
        gallery.settings,
        gallery.features(ids).embedding.tobytes(),
        [code.tobytes() for code in gallery.codes(ids) if code is not None],
        found.face_ids.tolist(),
        np.nan_to_num(found.cosine, nan=-9).tolist(),
        gallery.thumbnail(ids[0]),
    ]


def test_reading_changes_nothing(old: Path, enrolments: Make, version: int) -> None:
    before = old.read_bytes()
    items = enrolments(150)
    with Gallery.open(old, readonly=True) as reader:
        first = state(reader, items)
        assert reader.revision == reader.revision
        assert len(reader) == 146
        reader.check()
    assert old.read_bytes() == before
    assert format_of(old) == version
    with Gallery.open(old) as writer:
        assert state(writer, items) == first
        writer.check()
    assert format_of(old) == 3


def test_a_reader_goes_on_through_the_change_of_format(old: Path, enrolments: Make) -> None:
    items = enrolments(150)
    with Gallery.open(old, readonly=True) as reader:
        first, revision = state(reader, items), reader.revision
        with reader.snapshot() as view, Gallery.open(old) as writer:
            writer.enroll(items)
            writer.enroll(enrolments(1, seed=9))
            writer.remove_face(7)
            assert len(view) == 146
            assert view.search(items[6].features, k=1).face_ids[0, 0] == 7
        assert reader.revision != revision
        assert len(reader) == 146 + 5 - 1
        assert 7 not in reader.search(items[6].features, k=200).face_ids
        assert state(reader, items) != first


def test_former_faces_are_erased_too(old: Path) -> None:
    """The copy in the row goes with the row, and the one in the block with the block."""
    with Gallery.open(old, readonly=True) as reader:
        gone = reader.features([70]).embedding.tobytes()
        kept = reader.features([71]).embedding.tobytes()
    assert gone in old.read_bytes()
    with Gallery.open(old) as writer:
        assert old.read_bytes().count(gone) == 2
        assert writer.remove_face(70).erased
        log = old.with_name(old.name + "-wal")
        for path in (old, log):
            # Overflow pages cut a vector at most once: look for both halves.
            assert gone[:60] not in path.read_bytes()
            assert gone[-60:] not in path.read_bytes()
        assert kept[:60] in old.read_bytes() or kept[-60:] in old.read_bytes()
        writer.check()


def test_killed_in_the_midst_of_the_change(
    old: Path, enrolments: Make, start_worker: Start, version: int
) -> None:
    """Whatever moment: the former gallery, whole, and the next opening brings it on."""
    items = enrolments(150)
    with Gallery.open(old, readonly=True) as reader:
        before = state(reader, items)
    for block in (1, 2, 3):
        copy = old.with_name(f"copy{block}.faceflow")
        shutil.copy(old, copy)
        worker = start_worker("kill_while_upgrading", copy, block)
        assert worker.wait(timeout=60) == -signal.SIGKILL
        with Gallery.open(copy, readonly=True) as reader:
            assert state(reader, items) == before
        assert format_of(copy) == version
        with Gallery.open(copy) as writer:
            assert state(writer, items) == before
            writer.check()
        assert format_of(copy) == 3


def test_a_full_disk_leaves_the_former_gallery(
    old: Path, enrolments: Make, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    def full(*arguments: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(former, "fill", full)
        with pytest.raises(GalleryError, match="cannot grow"):
            Gallery.open(old)
    assert format_of(old) == version
    with Gallery.open(old) as writer:
        assert len(writer) == 146
        writer.check()


def test_damage_from_before_stays_told(old: Path, enrolments: Make) -> None:
    with Gallery.open(old, readonly=True) as reader:
        vector = reader.features([9]).embedding.tobytes()
    raw = bytearray(old.read_bytes())
    raw[raw.find(vector[:60]) + 5] ^= 1
    old.write_bytes(raw)
    with Gallery.open(old) as gallery:
        with pytest.raises(GalleryError, match=r"embedding of face 9.*remove face 9"):
            gallery.search(enrolments(1)[0].features, k=3)
        assert gallery.features([10]).embedding.shape == (1, 32)
        gallery.enroll([replace(enrolments(1, seed=4)[0])])
        with pytest.raises(GalleryError, match="embedding of face 9"):
            gallery.features([9])
        gallery.remove_face(10)
        with pytest.raises(GalleryError, match="embedding of face 9"):
            gallery.check()
        gallery.remove_face(9)
        gallery.check()
