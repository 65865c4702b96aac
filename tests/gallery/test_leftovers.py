"""What a killed import or export leaves is swept, and nothing else is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faceflow.errors import GalleryError
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.workplace import sweep, workplace

Make = Callable[..., list[Enrolment]]
Start = Callable[..., subprocess.Popen[str]]


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def content_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("work", ["import", "export", "overwrite", "create"])
@pytest.mark.parametrize("after", ["opening", "importing", "exporting"])
def test_what_a_killed_process_left_is_swept(
    gallery: Gallery, enrolments: Make, start_worker: Start, tmp_path: Path, work: str, after: str
) -> None:
    gallery.enroll(enrolments(40))
    exported = gallery.export(tmp_path / "source" / ".." / "elsewhere")
    folder = tmp_path / "work"
    folder.mkdir()
    if work == "overwrite":
        gallery.export(folder / "export")
    worker = start_worker("kill_while_moving", work, gallery.path, exported, folder)
    assert worker.wait(timeout=30) == -signal.SIGKILL
    left = hidden(folder)
    assert len(left) == 1
    if work != "create":
        assert b"Person 3" in content_below(folder / left[0])
    other = tmp_path / "other.faceflow"
    Gallery.import_from(exported, other).close()
    if after == "opening":
        other.rename(folder / "x.faceflow")
        Gallery.open(folder / "x.faceflow", readonly=True).close()
    elif after == "importing":
        Gallery.import_from(exported, folder / "x.faceflow").close()
    else:
        gallery.export(folder / "another")
    assert hidden(folder) == []
    if work == "overwrite":
        # It was killed between putting the former export aside and naming the new one.
        Gallery.import_from(folder / "export", folder / "again.faceflow").close()


def test_what_is_being_built_is_left_alone(tmp_path: Path) -> None:
    with workplace(tmp_path / "x") as place:
        place.file("part").write_text("here")
        for _ in range(2):
            sweep(tmp_path)
        with workplace(tmp_path / "y"):
            assert len(hidden(tmp_path)) == 2
        assert place.file("part").read_text() == "here"
    assert hidden(tmp_path) == []


def test_what_is_not_ours_or_may_be_in_use_is_left_alone(tmp_path: Path) -> None:
    ours = ".faceflow-" + "0" * 32
    kept = {
        "another program's": tmp_path / ".faceflow-notes",
        "a file of our name": tmp_path / (".faceflow-" + "1" * 32),
        "no lock yet": tmp_path / (".faceflow-" + "2" * 32),
        "another computer's": tmp_path / ours,
        "of a former kind, new": tmp_path / f".x.{'3' * 32}.import",
    }
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    (tmp_path / (".faceflow-" + "4" * 32)).symlink_to(outside)
    kept["another program's"].mkdir()
    kept["a file of our name"].write_text("mine")
    kept["no lock yet"].mkdir()
    kept["another computer's"].mkdir()
    lock = {"host": "another", "target": "x"}
    (kept["another computer's"] / "lock").write_text(json.dumps(lock))
    kept["of a former kind, new"].write_text("mine")
    sweep(tmp_path)
    assert all(path.exists() for path in kept.values())
    assert (outside / "mine").read_text() == "mine"
    # A day later nobody works on them any more.
    old = time.time() - 90_000
    for path in [*kept.values(), kept["another computer's"] / "lock"]:
        os.utime(path, (old, old))
    sweep(tmp_path)
    assert [what for what, path in kept.items() if path.exists()] == [
        "another program's",
        "a file of our name",
    ]
    assert (outside / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"host": 3}', '{"target": "../../x"}', "\udcff"]
)
def test_a_crafted_lock_does_no_harm(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "inner" / (".faceflow-" + "0" * 32)
    (folder / "former").mkdir(parents=True)
    (folder / "lock").write_bytes(content.encode(errors="surrogateescape"))
    sweep(folder.parent)
    assert not (tmp_path / "x").exists()
    assert not (tmp_path.parent / "x").exists()


def test_a_failed_overwriting_gives_back_the_former_export(
    gallery: Gallery, enrolments: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll(enrolments(5))
    folder = gallery.export(tmp_path / "export")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    gallery.remove_face(1)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "export" and target == folder:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(GalleryError, match="No space left"):
        gallery.export(folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert hidden(tmp_path) == []


def test_the_lock_goes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while cleaning up: without a lock the rest would look as if just being made."""
    unlink = Path.unlink
    done: list[str] = []

    def interrupted(self: Path, missing_ok: bool = False) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(self.name)
        unlink(self, missing_ok)

    def build() -> None:
        with workplace(tmp_path / "x") as place:
            for number in range(9):
                place.file(f"part {number}").write_text("here")
            patch.setattr(Path, "unlink", interrupted)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        build()
    (left,) = hidden(tmp_path)
    assert (tmp_path / left / "lock").exists()
