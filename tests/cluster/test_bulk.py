"""Bulk enrolment: what workers see of photos, and a driver that is killed."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import os
import pickle
import secrets
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faceflow.cluster import bulk_sources
from faceflow.cluster.bulk_sources import PHOTOS_A_TASK, StoredPhoto, StoredShard, opened, work_of
from faceflow.cluster.bulk_workers import Gate, Looker, Pair, seen_in
from faceflow.errors import FaceflowError, ImageError, InputError, WeightsError
from faceflow.gallery import Gallery

DRIVER = Path(__file__).with_name("workers_bulk.py")
PHOTOS = 150


def picture(number: int) -> bytes:
    held = io.BytesIO()
    pixels = np.random.default_rng(number).integers(1, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels * (number != 5)).save(held, "png")
    return held.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 photos of 6 people: one shows no face, one cannot be read, one comes twice."""
    folder = tmp_path_factory.mktemp("bulk") / "photos"
    for number in range(PHOTOS):
        path = folder / f"Person {number // 25}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(8 if number == 9 else number))
    (folder / "Person 0" / "006.png").write_bytes(b"none")
    (folder / "loose.png").write_bytes(picture(999))
    return folder


# Sources


def test_local_paths_are_those_of_plain_enrolment(photos: Path) -> None:
    work = work_of([photos])
    assert work.photos == PHOTOS + 1
    assert [Path(seen.place).name for seen in work.skipped] == ["loose.png"]
    assert {len(task) for task in work.tasks} == {PHOTOS_A_TASK, PHOTOS % PHOTOS_A_TASK}  # type: ignore[arg-type]
    read = [photo for task in work.tasks for some in opened(task) for photo in some]
    assert [Path(photo.place).name for photo in read] == [f"{n:03}.png" for n in range(PHOTOS)]
    assert read[7].content == (photos / "Person 0" / "007.png").read_bytes()


@pytest.fixture
def bucket() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (faceflow[ray])")
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_folders_lists_and_shards_in_object_storage(bucket: Any) -> None:
    bucket.pipe("/b/Ada/1.jpg", b"one")
    bucket.pipe("/b/Bo/deep/2.png", b"two")
    bucket.pipe("/b/Bo/notes.txt", b"x")
    bucket.pipe("/b/loose.jpg", b"x")
    work = work_of(["memory://b"])
    assert work.tasks == (
        (
            StoredPhoto("memory:///b/Ada/1.jpg", "Ada"),
            StoredPhoto("memory:///b/Bo/deep/2.png", "Bo"),
        ),
    )
    assert [seen.place for seen in work.skipped] == ["memory:///b/loose.jpg"]
    assert [photo.content for photo in next(opened(work.tasks[0]))] == [b"one", b"two"]
    bucket.pipe("/b/list.csv", b"path,person\nAda/1.jpg,Cy\nmemory://b/gone.jpg,Dee\n")
    (task,) = work_of(["memory://b/list.csv"]).tasks
    first, second = next(opened(task))
    assert (first.person, first.content) == ("Cy", b"one")
    assert isinstance(second.content, ImageError)
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as shard:
        for name, content in (("Eve/1.jpg", b"three"), ("loose.jpg", b"four")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            shard.addfile(entry, io.BytesIO(content))
    bucket.pipe("/b/0.tar", held.getvalue())
    work = work_of(["memory://b/0.tar"])
    assert (work.tasks, work.photos) == ((StoredShard("memory://b/0.tar", None),), None)
    (some,) = opened(work.tasks[0])
    assert [(one.place, one.person, one.content) for one in some] == [
        ("memory://b/0.tar/Eve/1.jpg", "Eve", b"three"),
        ("memory://b/0.tar/loose.jpg", None, some[1].content),
    ]
    (some,) = opened(work_of(["memory://b/0.tar"], person="Flo").tasks[0])
    assert [one.content for one in some] == [b"three", b"four"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("memory://nothing", "no photos in memory://nothing|cannot be read"),
        ("memory://b/none.csv", "none.csv cannot be read"),
        ("memory://b/bad.csv", "no columns path and person"),
        ("nowhere://b", "nowhere"),
    ],
)
def test_what_cannot_be_read_is_said(bucket: Any, address: str, words: str) -> None:
    bucket.pipe("/b/bad.csv", b"a,b\n")
    with pytest.raises(FaceflowError, match=words):
        work_of([address])


def test_a_photo_that_is_too_large_is_left_out(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe("/b/Ada/1.jpg", b"x" * 11)
    monkeypatch.setattr(bulk_sources, "FILE_LIMIT", 10)
    (one,) = next(opened(work_of(["memory://b"]).tasks[0]))
    assert isinstance(one.content, ImageError)


# Workers


def made_up() -> Any:
    spec = importlib.util.spec_from_file_location("workers_bulk", DRIVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MadeUp()


def looked(photos: Path, known: Any, make: Any = made_up) -> list[Any]:
    looker = Looker(make, known, "largest", "never")
    tasks = np.array([pickle.dumps(task) for task in work_of([photos]).tasks[:1]], object)
    values = [value for batch in looker({"task": tasks}) for value in batch["seen"]]
    return [seen for value in values for seen in seen_in(value)]


def test_known_photos_are_not_looked_at(photos: Path) -> None:
    asked: list[Pair] = []

    def known(pairs: Sequence[Pair]) -> list[bool]:
        asked.extend(pairs)
        return [n != 3 for n in range(len(pairs))]

    seen = looked(photos, known)
    assert len(seen) == len(asked) == PHOTOS_A_TASK
    assert [one.content_hash for one in seen] == [digest for digest, _ in asked]
    assert [one.found is None for one in seen] == [n != 3 for n in range(PHOTOS_A_TASK)]


def test_each_photo_has_its_reason(photos: Path) -> None:
    seen = looked(photos, lambda pairs: [False] * len(pairs))
    kinds = [type(one.found).__name__ for one in seen[4:8]]
    assert kinds == ["Face", "NoFaceError", "ImageError", "Face"]


def test_an_error_of_all_photos_ends_all(photos: Path) -> None:
    def broken() -> Any:
        raise WeightsError("the weights are gone", todo="fetch them")

    with pytest.raises(WeightsError, match="weights are gone"):
        looked(photos, lambda pairs: [False] * len(pairs), broken)


def test_the_gate_follows_the_gallery(tmp_path: Path, create: Any, enrolments: Any) -> None:
    (item,) = enrolments(1)
    with create(tmp_path / "g.faceflow") as gallery:
        gate = Gate(str(tmp_path / "g.faceflow"))
        pair = (item.content_hash, item.person)
        assert gate.known([pair]) == [False]
        gallery.enroll([item])
        assert gate.known([pair, (item.content_hash, "Eve")]) == [True, False]


# The whole of it, with Ray


@pytest.fixture
def ray_folder() -> Iterator[str]:
    """Where Ray keeps its files; what still runs there is killed at the end."""
    pytest.importorskip("pandas", reason="Ray Data is not installed (faceflow[ray])")
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (faceflow[ray])")
    folder = tempfile.mkdtemp(prefix="ffb", dir="/tmp")
    yield folder
    for process in running_in(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def running_in(folder: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if folder.encode() in place.read_bytes():
                found.append(int(place.parent.name))
    return found


def workers_in(folder: str) -> list[int]:
    """The processes that look at photos."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = f"RAY_TMPDIR={folder}".encode() in (place / "environ").read_bytes()
            if ours and (place / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(place.name))
    return found


def drive(photos: Path, gallery: Path, ray_folder: str, *more: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "RAY_TMPDIR": ray_folder,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Ray's workers are polite by default: on a busy machine they would never have a turn.
        "RAY_worker_niceness": "0",
    }
    return subprocess.Popen(
        [
            sys.executable,
            str(DRIVER),
            *map(str, (photos, gallery, gallery.with_suffix(".csv"))),
            *more,
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def faces_in(gallery: Path) -> int:
    with Gallery.open(gallery, readonly=True) as opened_:
        return len(opened_)


def test_after_kills_it_goes_on_and_gives_what_plain_enrolment_gives(
    photos: Path, tmp_path: Path, ray_folder: str
) -> None:
    killed, plain = tmp_path / "killed.faceflow", tmp_path / "plain.faceflow"
    first = drive(photos, killed, ray_folder)
    deadline = time.monotonic() + 300
    while not killed.exists() or not faces_in(killed):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.kill()
    first.communicate()
    while running_in(ray_folder):  # its cluster goes with it
        assert time.monotonic() < deadline
        time.sleep(0.2)
    kept = faces_in(killed)
    assert 0 < kept < PHOTOS - 3
    assert not killed.with_suffix(".csv").exists()

    second = drive(photos, killed, ray_folder)
    while not (looking := workers_in(ray_folder)):
        assert second.poll() is None, second.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(looking[0], signal.SIGKILL)  # and its photos go to another
    out, error = second.communicate(timeout=400)
    assert second.returncode == 0, error
    # One shows no face, one cannot be read, one lies in nobody's folder, one comes twice.
    assert out.split() == [str(n) for n in (PHOTOS + 1, PHOTOS - 3 - kept, kept + 1, 3)]
    third = drive(photos, plain, ray_folder, "plain")
    _, error = third.communicate(timeout=200)
    assert third.returncode == 0, error

    with Gallery.open(killed) as mine, Gallery.open(plain) as theirs:
        mine.check()
        ids = [record.face_id for record in theirs.faces()]
        assert [(r.face_id, r.person, r.source, r.content_hash, r.box) for r in mine.faces()] == [
            (r.face_id, r.person, r.source, r.content_hash, r.box) for r in theirs.faces()
        ]
        a, b = mine.features(ids), theirs.features(ids)
        assert (a.embedding == b.embedding).all()
        assert (a.patches == b.patches).all()
        assert [mine.thumbnail(i) for i in ids] == [theirs.thumbnail(i) for i in ids]
    with killed.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with plain.with_suffix(".csv").open(newline="") as file:
        expected = list(csv.DictReader(file))
    assert [row["photo"] for row in rows] == [row["photo"] for row in expected]
    assert sum(row["outcome"] == "added" for row in rows) == PHOTOS - 3 - kept
    assert [row["reason"] for row in rows if row["outcome"] == "skipped"] == [
        "no person",
        "no face",
        "unreadable",
    ]


def test_an_address_is_no_local_path(bucket: Any) -> None:
    with pytest.raises(InputError):
        work_of(["/nowhere/at/all"])
