"""Several processes on one gallery."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faceflow.errors import GalleryError
from faceflow.gallery import Enrolment, Gallery

Make = Callable[..., list[Enrolment]]


def test_two_read_while_one_writes(
    gallery: Gallery, enrolments: Make, start_worker: Callable[..., subprocess.Popen[str]]
) -> None:
    items = enrolments(300)
    gallery.enroll(items[:1])
    readers = [start_worker("search_until", gallery.path, 300) for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "1\n"
    for start in range(1, 300, 23):
        gallery.enroll(items[start : start + 23], batch=5)
        time.sleep(0.02)
    for reader in readers:
        out, errors = reader.communicate(timeout=40)
        assert (reader.returncode, errors) == (0, "")
        counts = [int(line) for line in out.split()]
        assert counts[-1] == 300
        assert counts == sorted(counts)
        assert len(counts) > 3
        # Only whole batches are ever seen: 1, then 23 at a time in fives and a three.
        whole = {1 + 23 * i + j for i in range(14) for j in (0, 5, 10, 15, 20)} | {300}
        assert set(counts) <= whole
    gallery.close()
    assert [p.name for p in gallery.path.parent.iterdir()] == ["people.faceflow"]


def test_two_writers_take_turns(gallery: Gallery, enrolments: Make) -> None:
    with Gallery.open(gallery.path) as other:
        a, b = enrolments(30, seed=1), enrolments(30, seed=2)
        for i in range(0, 30, 10):
            gallery.enroll(a[i : i + 10])
            other.enroll(b[i : i + 10])
        assert other.enroll(a).duplicates == 30
        assert len(gallery) == len(other) == 60
        assert gallery.search(b[7].features, k=1).cosine[0, 0] == 1
        other.remove_person("Person 2")
        assert gallery.search(b[7].features, k=1).cosine[0, 0] < 1
    gallery.check()


def test_locked_by_another_writer(
    tmp_path: Path, create: Callable[..., Gallery], enrolments: Make
) -> None:
    items = enrolments(4)
    with create(tmp_path / "x.faceflow", busy_seconds=0.05) as gallery:
        gallery.enroll(items[:2])
        blocker = sqlite3.connect(gallery.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for change in (
            lambda: gallery.enroll(items[2:]),
            lambda: gallery.remove_face(1),
            lambda: gallery.rename("Person 0", "X"),
        ):
            with pytest.raises(GalleryError, match=r"x.faceflow is in use. another program"):
                change()
        # Reading goes on.
        assert gallery.search(items[1].features, k=1).face_ids[0, 0] == 2
        blocker.execute("ROLLBACK")
        blocker.close()
        assert gallery.enroll(items).added == 2


def test_another_process_may_replace_nothing(gallery: Gallery, enrolments: Make) -> None:
    """Faces removed by one process are unknown to the other, not somebody else's."""
    gallery.enroll(enrolments(10))
    with Gallery.open(gallery.path, readonly=True) as reader:
        found = reader.search(enrolments(10)[3].features, k=3).face_ids[0]
        gallery.remove_face(int(found[0]))
        gallery.enroll(enrolments(5, seed=2))
        with pytest.raises(GalleryError, match=f"no face {found[0]}"):
            reader.features(found)
        assert reader.search(enrolments(10)[3].features, k=1).face_ids[0, 0] != found[0]
