"""Files that are not, or no longer, galleries: a clear error, and nothing is changed."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow.errors import FaceflowError, GalleryError, InputError
from faceflow.gallery import Enrolment, Gallery

Make = Callable[..., list[Enrolment]]


@pytest.fixture
def full(gallery: Gallery, enrolments: Make) -> Path:
    """A closed gallery of 25 faces, with settings."""
    gallery.enroll(enrolments(25, crops=True))
    gallery.remove_face(4)
    gallery.update_settings({"alpha": 0.4})
    gallery.close()
    return gallery.path


def read_all(path: Path) -> list[Any]:
    with Gallery.open(path, readonly=True) as gallery:
        records = gallery.faces()
        ids = [record.face_id for record in records]
        features = gallery.features(ids)
        found = gallery.search(features, k=5)
        return [
            gallery.header,
            records,
            gallery.records(ids),
            gallery.people(),
            gallery.settings,
            [gallery.thumbnail(i) for i in ids],
            features.embedding.tobytes(),
            features.patches.tobytes(),
            features.norms.tobytes(),
            features.pooled.tobytes(),
            found.face_ids.tobytes(),
            found.cosine.tobytes(),
        ]


def noticed(path: Path, expected: list[Any]) -> str:
    """How damage shows: "not" at all (nothing is different), on "reading", or on "check"."""
    try:
        if read_all(path) == expected:
            return "not"
    except GalleryError:
        return "reading"
    with pytest.raises(GalleryError), Gallery.open(path, readonly=True) as gallery:
        gallery.check()
    return "check"


def test_flipped_bytes_are_noticed(full: Path, tmp_path: Path) -> None:
    expected = read_all(full)
    raw = full.read_bytes()
    copy = tmp_path / "copy.faceflow"
    rng = random.Random(0)
    places = [*range(0, 100, 3), *rng.sample(range(100, len(raw)), 160)]
    results = []
    for place in places:
        damaged = bytearray(raw)
        damaged[place] ^= rng.randrange(1, 256)
        copy.write_bytes(damaged)
        results.append(noticed(copy, expected))
    # Most bytes that matter are patches, embeddings and pictures; padding does not matter.
    assert results.count("reading") > 60
    assert results.count("check") < 20


def test_a_gallery_overwritten_in_the_middle(full: Path) -> None:
    expected = read_all(full)
    raw = bytearray(full.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 8192] = bytes(8192)
    full.write_bytes(raw)
    assert noticed(full, expected) != "not"
    with Gallery.open(full) as gallery, pytest.raises(GalleryError, match="damaged"):
        gallery.check()


def test_faces_that_went_missing_are_noticed(full: Path) -> None:
    """A page that claims to hold fewer rows than it does is no error to SQLite."""
    raw = bytearray(full.read_bytes())
    size = int.from_bytes(raw[16:18], "big")
    connection = sqlite3.connect(full)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'face'").fetchone()
    connection.close()
    at = (root[0] - 1) * size
    assert raw[at] == 5, "an inner page, which names its last leaf at offset 8"
    start = (int.from_bytes(raw[at + 8 : at + 12], "big") - 1) * size
    rows = int.from_bytes(raw[start + 3 : start + 5], "big")
    assert raw[start] == 13
    assert rows > 1
    raw[start + 3 : start + 5] = (rows - 1).to_bytes(2, "big")
    with Gallery.open(full, readonly=True) as gallery:
        query = gallery.features([25])
    full.write_bytes(raw)
    with Gallery.open(full, readonly=True) as gallery:
        for _ in range(2):
            with pytest.raises(GalleryError, match="damaged: 23 of 24 faces can be read"):
                gallery.search(query, k=3)
        with pytest.raises(GalleryError, match="damaged"):
            gallery.check()


def test_a_damaged_face_can_be_removed(full: Path) -> None:
    with Gallery.open(full, readonly=True) as gallery:
        vector = gallery.features([9]).embedding.tobytes()
    raw = bytearray(full.read_bytes())
    at = raw.find(vector[:64])
    raw[at + 5] ^= 1
    full.write_bytes(raw)
    with Gallery.open(full) as gallery:
        query = gallery.features([3])
        for _ in range(2):
            with pytest.raises(GalleryError, match=r"embedding of face 9.*remove face 9"):
                gallery.search(query, k=3)
        with pytest.raises(GalleryError, match="embedding of face 9"):
            gallery.features([9])
        gallery.remove_face(9)
        assert gallery.search(query, k=3).face_ids[0, 0] == 3
        gallery.check()


@pytest.mark.parametrize("keep", [0, 10, 90, 100, 600, 1024, 5000, 0.5, 0.99])
def test_a_gallery_cut_short(full: Path, keep: float) -> None:
    raw = full.read_bytes()
    short = raw[: int(keep if keep > 1 else keep * len(raw))]
    full.write_bytes(short)
    reason = "cut short: .* of" if len(short) >= 90 else "is not a gallery"
    with pytest.raises(GalleryError, match=f"{reason}.*restore a copy"):
        Gallery.open(full)
    assert full.read_bytes() == short


@pytest.mark.parametrize(
    "content", [b"\xff\xd8\xff\xe0 a photo", b"person,photo\nAda,ada.jpg\n" * 50, bytes(4096)]
)
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.faceflow"
    path.write_bytes(content)
    for readonly in (False, True):
        with pytest.raises(GalleryError, match="is not a gallery"):
            Gallery.open(path, readonly=readonly)
    assert path.read_bytes() == content


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "x.faceflow"
    path.touch()
    with pytest.raises(GalleryError, match=r"is not a gallery. the file is empty"):
        Gallery.open(path)
    assert path.stat().st_size == 0


def test_the_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "x.faceflow"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t(x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(GalleryError, match="database of another program"):
        Gallery.open(path)
    assert path.read_bytes() == before


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_gallery_of_a_newer_version(full: Path) -> None:
    change(full, "PRAGMA user_version = 3")
    with pytest.raises(GalleryError, match=r"newer faceflow \(format 3.*upgrade"):
        Gallery.open(full)


def test_tables_that_are_not_ours(full: Path) -> None:
    change(
        full,
        "CREATE TRIGGER t AFTER INSERT ON face BEGIN DELETE FROM photo; END",
    )
    with pytest.raises(GalleryError, match="its tables are not a gallery's"):
        Gallery.open(full)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM face WHERE face_id = 3",
        "DELETE FROM photo WHERE face_id = 3",
        "UPDATE photo SET face_id = 99 WHERE face_id = 3",
        "UPDATE photo SET person_id = 4 WHERE face_id = 3",
        "UPDATE face SET person_id = 2 WHERE face_id = 3",
        "UPDATE face SET face_id = 99 WHERE face_id = 3",
        "UPDATE person_name SET name = 'Somebody' WHERE person_id = 2",
        "DELETE FROM person_name WHERE person_id = 2",
        "INSERT INTO person VALUES(77)",
        "UPDATE setting SET content = x'00'",
        "UPDATE face SET thumbnail = NULL, patches = embedding WHERE face_id = 3",
    ],
)
def test_rows_changed_from_outside_are_noticed(full: Path, statement: str) -> None:
    change(full, statement)
    with Gallery.open(full) as gallery, pytest.raises(GalleryError, match="damaged"):
        gallery.check()


def test_no_gallery_there(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match=r"there is no gallery .*x.faceflow"):
        Gallery.open(tmp_path / "x.faceflow")
    with pytest.raises(GalleryError, match="is a folder"):
        Gallery.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_creating_over_something(
    full: Path, tmp_path: Path, create: Callable[..., Gallery]
) -> None:
    before = full.read_bytes()
    with pytest.raises(GalleryError, match="exists already"):
        create(full)
    assert full.read_bytes() == before
    with pytest.raises(GalleryError, match="there is no folder"):
        create(tmp_path / "nowhere" / "x.faceflow")
    (tmp_path / "link.faceflow").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GalleryError, match="exists already"):
        create(tmp_path / "link.faceflow")
    # The log of a deleted gallery would be replayed into a new one of its name.
    (tmp_path / "y.faceflow-wal").write_bytes(b"log")
    with pytest.raises(GalleryError, match=r"y.faceflow-wal is left of another gallery"):
        create(tmp_path / "y.faceflow")
    with pytest.raises(GalleryError):
        create(tmp_path / ("n" * 300))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "link.faceflow",
        "people.faceflow",
        "y.faceflow-wal",
    ]


def test_a_file_system_without_hard_links(
    tmp_path: Path, create: Callable[..., Gallery], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    create(tmp_path / "x.faceflow").close()
    with pytest.raises(GalleryError, match="exists already"):
        create(tmp_path / "x.faceflow")
    assert [p.name for p in tmp_path.iterdir()] == ["x.faceflow"]


def test_read_only_file_and_folder(
    full: Path,
    open_folder: Path,
    start_worker: Callable[..., subprocess.Popen[str]],
) -> None:
    path = open_folder / "people.faceflow"
    shutil.copy(full, path)
    path.chmod(0o444)
    open_folder.chmod(0o555)
    before = path.read_bytes()
    worker = start_worker("try_open", path, open_folder)
    out, errors = worker.communicate(timeout=30)
    assert worker.returncode == 0, errors
    lines = out.splitlines()
    assert "cannot be changed" in lines[0]
    assert "open it read-only, or copy it" in lines[0]
    assert lines[1] == "read 24 True"
    assert "permissions" in lines[2]
    assert path.read_bytes() == before
    assert [p.name for p in open_folder.iterdir()] == ["people.faceflow"]


def test_a_gallery_this_user_may_not_read(
    full: Path,
    open_folder: Path,
    start_worker: Callable[..., subprocess.Popen[str]],
) -> None:
    path = open_folder / "people.faceflow"
    shutil.copy(full, path)
    path.chmod(0o000)
    worker = start_worker("try_open", path, open_folder)
    out, errors = worker.communicate(timeout=30)
    assert worker.returncode == 0, errors
    assert all("check the permissions" in line for line in out.splitlines()[:2])


def test_a_read_only_gallery_that_changes_is_noticed(
    full: Path, enrolments: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no locks can be taken, somebody else's change must not be half seen."""
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        with Gallery.open(full, readonly=True) as reader:

            def read_while_it_changes() -> None:
                with reader.snapshot() as view:
                    assert len(view) == 24
                    patch.setattr("os.access", lambda path, mode: True)
                    with Gallery.open(full) as writer:
                        writer.update_settings({"alpha": 0.5})

            with pytest.raises(GalleryError, match="changed by another program while"):
                read_while_it_changes()
            assert reader.settings["alpha"] == 0.5
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        reader = Gallery.open(full, readonly=True)
    query = enrolments(25)[0].features
    assert reader.search(query, k=1).face_ids[0, 0] == 1
    with Gallery.open(full) as writer:
        writer.enroll(enrolments(1, seed=8))
        assert (reader.search(query, k=50).face_ids > 0).sum() == 25
        # With the writer's log beside it, it opens with locks, and follows.
        with monkeypatch.context() as patch:
            patch.setattr("os.access", lambda path, mode: False)
            with Gallery.open(full, readonly=True) as second:
                assert len(second) == 25
                writer.enroll(enrolments(1, seed=9))
                assert (second.search(query, k=50).face_ids > 0).sum() == 26
    reader.close()


def test_damage_never_shows_as_another_error(full: Path) -> None:
    assert issubclass(GalleryError, FaceflowError)
    with Gallery.open(full) as gallery:
        connection = gallery._store._writer._connection  # type: ignore[attr-defined]
        connection.execute("UPDATE state SET last_face_id = 2")
        item = Enrolment("A", "a", "0" * 64, gallery.features([1]))
        with pytest.raises((GalleryError, InputError), match="damaged"):
            gallery.enroll([item])
        assert len(gallery) == 24
    assert np.isfinite(read_all(full)[0].embedding_size)
