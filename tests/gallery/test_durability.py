"""Killed at any moment, on a full disk: what was acknowledged is there, whole."""

from __future__ import annotations

import importlib.util
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from faceflow.errors import GalleryError
from faceflow.gallery import Enrolment, Gallery

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    """The worker's own definition of face i."""
    path = Path(__file__).parent / "workers" / "enroll_forever.py"
    spec = importlib.util.spec_from_file_location("enroll_forever", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_whole(path: Path, worker: ModuleType, acknowledged: int, *, first: int = 0) -> int:
    """Open, check everything, compare every face from ``first`` with what was enrolled."""
    with Gallery.open(path) as gallery:
        gallery.check()
        count = len(gallery)
        assert count >= acknowledged
        for record in gallery.faces()[first:]:
            face: Enrolment = worker.face(record.face_id - 1)
            assert (record.person, record.source) == (face.person, face.source)
            assert record.content_hash == face.content_hash
            stored = gallery.features([record.face_id])
            assert np.array_equal(stored.embedding, face.features.embedding)
            assert np.array_equal(stored.pooled, face.features.pooled)
            assert np.allclose(stored.patches, face.features.patches, atol=0.01)
            assert gallery.thumbnail(record.face_id) is not None
        if count:
            query = gallery.features([count])
            assert gallery.search(query, k=1).face_ids[0, 0] == count
    assert not list(path.parent.glob(f"{path.name}-*"))
    return count


def test_kill_9_at_many_moments(tmp_path: Path, start_worker: Start, worker: ModuleType) -> None:
    path = tmp_path / "people.faceflow"
    rng = random.Random(0)
    acknowledged = checked = kills = 0
    counts = []
    for attempt in range(16):
        process = start_worker("enroll_forever", path)
        assert process.stdout is not None
        if attempt >= 2:
            # Wait for the first batches, then strike anywhere in those that follow.
            for _ in range(rng.randrange(1, 4)):
                acknowledged = max(acknowledged, int(process.stdout.readline()))
            time.sleep(rng.random() * 0.03)
        else:
            # Anywhere from the start of the interpreter to the first batches.
            time.sleep(0.15 + rng.random() * 0.3)
        process.kill()
        rest, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors
        kills += 1
        acknowledged = max([acknowledged, *map(int, rest.split())])
        if not path.exists():
            assert acknowledged == 0
            continue
        count = assert_whole(path, worker, acknowledged, first=checked)
        assert count % worker.BATCH == 0
        checked = count
        counts.append(count)
    assert kills == 16
    assert len(set(counts)) > 10, counts
    assert_whole(path, worker, acknowledged)
    # A gallery killed while it was being made leaves at most its unfinished file, hidden.
    others = [p for p in tmp_path.iterdir() if p != path]
    assert all(p.name.startswith(".people.faceflow.") and ".new" in p.name for p in others)


def test_killed_while_removing(
    gallery: Gallery, enrolments: Callable[..., list[Enrolment]], start_worker: Start
) -> None:
    gallery.enroll(enrolments(20))
    gallery.close()
    process = start_worker("kill_while_erasing", gallery.path, "Person 1")
    assert process.wait(timeout=30) == -signal.SIGKILL
    with Gallery.open(gallery.path, readonly=True) as reader:
        assert len(reader) == 16
        reader.check()


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("room", [0, 3_000, 70_000, 300_000])
def test_a_full_disk(tmp_path: Path, start_worker: Start, worker: ModuleType, room: int) -> None:
    path = tmp_path / "people.faceflow"
    with Gallery.create(
        path, network_name="n", digest="d", embedding_size=64, grid=(8, 8), channels=64
    ) as gallery:
        gallery.enroll((worker.face(i) for i in range(24)), batch=8)
    size = path.stat().st_size
    process = start_worker("full_disk", path, size + room)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    safe, message = out.split("\n", 1)
    assert "disk" in message
    assert "everything before it is kept" in message
    count = assert_whole(path, worker, 24 + int(safe))
    assert count == 24 + int(safe)
    with Gallery.open(path) as gallery:
        gallery.enroll([worker.face(count)])
    assert_whole(path, worker, count + 1)


def test_full_by_sqlites_own_limit(
    gallery: Gallery, enrolments: Callable[..., list[Enrolment]]
) -> None:
    items = enrolments(200)
    gallery.enroll(items[:20])
    connection = gallery._store._writer._connection  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 40}")
    with pytest.raises(GalleryError, match=r"cannot grow. the disk is full. free some space"):
        gallery.enroll(items[20:], batch=10)
    count = len(gallery)
    assert 20 <= count < 200
    assert count % 10 == 0
    gallery.check()
    connection.execute(f"PRAGMA max_page_count = {pages + 100000}")
    report = gallery.enroll(items)
    assert report.duplicates == count
    assert len(gallery) == 200
    gallery.check()


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read with getrusage")
def test_enrolling_does_not_hold_the_gallery(tmp_path: Path, start_worker: Start) -> None:
    """20,000 embeddings are 20 MB; enrolling the last 16,000 may not cost a quarter of that."""
    process = start_worker("enroll_many", tmp_path / "x.faceflow", 20_000)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    early, late = map(int, out.split())
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    assert (late - early) / unit < 5
    with Gallery.open(tmp_path / "x.faceflow", readonly=True) as gallery:
        assert len(gallery) == 20_000
        assert len(gallery.people()) == 5_000
