"""Files that change places: links, copies over a gallery, removals under an open one, old logs."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from faceflow.errors import GalleryError
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.stores.sqlite import lineage
from faceflow.gallery.stores.sqlite.held_file import hold

Make = Callable[..., list[Enrolment]]
Start = Callable[..., subprocess.Popen[str]]


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


@pytest.fixture
def crashed(gallery: Gallery, enrolments: Make, start_worker: Start) -> Path:
    """A gallery of 20 faces whose last 8 are in the log only, left by a killed process."""
    gallery.enroll(enrolments(12))
    gallery.close()
    worker = start_worker("enroll_and_die", gallery.path)
    assert worker.wait(timeout=30) == -signal.SIGKILL
    assert log_of(gallery.path).stat().st_size > 0
    return gallery.path


def test_a_log_is_found_behind_a_link(
    crashed: Path, tmp_path: Path, open_folder: Path, start_worker: Start
) -> None:
    """Also where nothing can be written beside the link, as in a read-only folder."""
    real = open_folder / "real" / "people.faceflow"
    real.parent.mkdir()
    for path in crashed.parent.glob("people.faceflow*"):
        shutil.copy(path, real.parent / path.name)
    link = open_folder / "links" / "who.faceflow"
    link.parent.mkdir()
    link.symlink_to(Path("..") / "real" / "people.faceflow")
    link.parent.chmod(0o555)
    real.parent.chmod(0o777)
    for path in real.parent.iterdir():
        path.chmod(0o666)
    worker = start_worker("try_open", link, tmp_path)
    out, errors = worker.communicate(timeout=30)
    assert errors == ""
    assert out.splitlines()[:2] == ["opened for writing", "read 20 True"]
    with Gallery.open(link) as gallery:
        assert gallery.path == real.resolve()
        assert len(gallery) == 20
        assert sorted(p.name for p in link.parent.iterdir()) == ["who.faceflow"]
    link.parent.chmod(0o755)


def test_links_that_lead_nowhere(
    tmp_path: Path, create: Callable[..., Gallery], enrolments: Make
) -> None:
    (tmp_path / "a.faceflow").symlink_to(tmp_path / "b.faceflow")
    (tmp_path / "b.faceflow").symlink_to(tmp_path / "a.faceflow")
    with pytest.raises(GalleryError, match=r"a.faceflow"):
        Gallery.open(tmp_path / "a.faceflow")
    with pytest.raises(GalleryError, match="exists already"):
        create(tmp_path / "a.faceflow")
    with create(tmp_path / "c.faceflow") as gallery, pytest.raises(GalleryError):
        gallery.export(tmp_path / "a.faceflow")


def test_a_second_name_of_the_file_is_refused(gallery: Gallery, enrolments: Make) -> None:
    """Under the other name the log would be looked for in another place."""
    gallery.enroll(enrolments(3))
    other = gallery.path.with_name("other.faceflow")
    os.link(gallery.path, other)
    with pytest.raises(GalleryError, match=r"has another name too.*real copy"):
        Gallery.open(other)
    other.unlink()
    assert len(gallery) == 3


def test_a_backup_over_a_crashed_gallery_is_refused_and_can_be_used(
    crashed: Path,
    gallery: Gallery,
    enrolments: Make,
    tmp_path: Path,
    create: Callable[..., Gallery],
) -> None:
    backup = tmp_path / "backup.faceflow"
    with create(backup) as other:
        other.enroll(enrolments(5, seed=3))
    former = tmp_path / "former.faceflow"
    shutil.copy(crashed, former)
    log = log_of(crashed).read_bytes()
    shutil.copy(backup, crashed)
    content = crashed.read_bytes()
    for readonly in (False, True, False):
        with pytest.raises(
            GalleryError, match=r"do not belong together.*delete people.faceflow-wal"
        ):
            Gallery.open(crashed, readonly=readonly)
    # Neither of the two was changed: both ways out of it are open.
    assert (crashed.read_bytes(), log_of(crashed).read_bytes()) == (content, log)
    shutil.copy(former, crashed)
    with Gallery.open(crashed, readonly=True) as again:
        assert len(again) == 20
        again.check()
    shutil.copy(backup, crashed)
    with Gallery.open(crashed) as again:
        assert len(again) == 5
        again.check()


@pytest.mark.parametrize("changes", [1, 3])
def test_an_older_copy_of_the_same_gallery(
    gallery: Gallery, enrolments: Make, start_worker: Start, tmp_path: Path, changes: int
) -> None:
    """The same gallery, but not the state that the log goes on from."""
    gallery.enroll(enrolments(12))
    gallery.close()
    copy = tmp_path / "copy.faceflow"
    shutil.copy(gallery.path, copy)
    for change in range(changes):
        with Gallery.open(gallery.path) as again:
            again.update_settings({"alpha": change / 10})
    worker = start_worker("enroll_and_die", gallery.path)
    assert worker.wait(timeout=30) == -signal.SIGKILL
    shutil.copy(copy, gallery.path)
    with pytest.raises(GalleryError, match="do not belong together"):
        Gallery.open(gallery.path)
    for beside in gallery.path.parent.glob("people.faceflow-*"):
        beside.unlink()
    with Gallery.open(gallery.path) as again:
        assert len(again) == 12
        again.check()


def test_a_copy_of_the_state_that_the_log_goes_on_from(crashed: Path, tmp_path: Path) -> None:
    """Nothing is lost then, and nothing refused: it is as if the file had never been touched."""
    copy = tmp_path / "copy.faceflow"
    shutil.copy(crashed, copy)
    copy.replace(crashed)
    with Gallery.open(crashed) as gallery:
        assert len(gallery) == 20
        gallery.check()


def test_half_a_checkpoint_before_a_crash_is_no_other_file(crashed: Path) -> None:
    """What SQLite itself wrote from the log into the file belongs to both."""
    raw, log = bytearray(crashed.read_bytes()), log_of(crashed).read_bytes()
    size = int.from_bytes(raw[16:18], "big")
    frames = range(32, len(log) - 24 - size + 1, 24 + size)
    for at in frames:
        page = int.from_bytes(log[at : at + 4], "big")
        raw[(page - 1) * size : page * size] = log[at + 24 : at + 24 + size]
    crashed.write_bytes(raw)
    with Gallery.open(crashed) as gallery:
        assert len(gallery) == 20
        gallery.check()


@pytest.mark.parametrize("how", ["replace", "remove", "remove log", "overwrite"])
def test_nothing_is_acknowledged_that_nobody_will_find(
    gallery: Gallery, enrolments: Make, tmp_path: Path, create: Callable[..., Gallery], how: str
) -> None:
    items = enrolments(12)
    gallery.enroll(items[:4])
    backup = tmp_path / "backup" / "people.faceflow"
    backup.parent.mkdir()
    with create(backup) as other:
        other.enroll(enrolments(5, seed=3))
    content = backup.read_bytes()
    {
        "replace": lambda: backup.replace(gallery.path),
        "remove": gallery.path.unlink,
        "remove log": log_of(gallery.path).unlink,
        "overwrite": lambda: gallery.path.write_bytes(content),
    }[how]()
    for change in (
        lambda: gallery.enroll(items[4:]),
        lambda: gallery.remove_face(1),
        lambda: gallery.update_settings({"a": 1}),
    ):
        with pytest.raises(GalleryError, match=r"(replaced or removed|overwritten).*open it again"):
            change()
    if how != "overwrite":
        with pytest.raises(GalleryError, match="replaced or removed"):
            gallery.search(items[0].features, k=1)
    gallery.close()
    if how == "replace":
        # Closing the old one took nothing away from the new one.
        assert gallery.path.read_bytes() == content


def test_a_replacement_in_the_middle_of_a_change(
    gallery: Gallery,
    enrolments: Make,
    tmp_path: Path,
    create: Callable[..., Gallery],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the commit, before it is acknowledged."""
    gallery.enroll(enrolments(4))
    backup = tmp_path / "backup.faceflow"
    create(backup).close()
    advance = lineage.advance

    def replaced(connection: sqlite3.Connection) -> None:
        advance(connection)
        backup.replace(gallery.path)

    monkeypatch.setattr(lineage, "advance", replaced)
    with pytest.raises(GalleryError, match="replaced or removed"):
        gallery.enroll(enrolments(2, seed=1))


def test_closing_a_replaced_gallery_leaves_the_new_ones_log(
    gallery: Gallery, enrolments: Make, tmp_path: Path, create: Callable[..., Gallery]
) -> None:
    """SQLite removes the log by its name, which is the new gallery's by then."""
    gallery.enroll(enrolments(4))
    for path in gallery.path.parent.glob("people.faceflow*"):
        path.unlink()
    with create(gallery.path) as new:
        new.enroll(enrolments(3, seed=1))
        gallery.close()
        assert log_of(new.path).exists()
        new.enroll(enrolments(3, seed=2))
        with Gallery.open(new.path, readonly=True) as reader:
            assert len(reader) == 6


def test_a_gallery_of_the_former_format_opens_and_is_upgraded(
    gallery: Gallery, enrolments: Make
) -> None:
    gallery.enroll(enrolments(6))
    gallery.close()
    connection = sqlite3.connect(gallery.path, isolation_level=None)
    connection.execute("DROP TABLE lineage")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with Gallery.open(gallery.path, readonly=True) as reader:
        assert len(reader) == 6
        reader.check()
    for _ in range(2):
        with Gallery.open(gallery.path) as again:
            again.enroll(enrolments(6, seed=2))
            again.check()
            assert len(again) == 12
    connection = sqlite3.connect(gallery.path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_every_change_adds_a_link(gallery: Gallery, enrolments: Make) -> None:
    """The file's own page is read as SQLite reads it, and each state names the one before."""
    gallery.close()
    links = []
    changes: list[Callable[[Gallery], object]] = [
        lambda g: g.enroll(enrolments(4)),
        lambda g: g.rename("Person 0", "Ada"),
        lambda g: g.update_settings({"a": 1}),
        lambda g: g.remove_face(2),
        lambda g: g.merge("Ada", "Person 2"),
    ]
    for change in changes:
        with Gallery.open(gallery.path) as again:
            change(again)
        connection = sqlite3.connect(gallery.path)
        (link,) = connection.execute("SELECT link FROM lineage").fetchone()
        root = lineage.root_page(connection)
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.close()
        file = hold(gallery.path)
        assert root is not None
        assert lineage._link(file.read((root - 1) * size, size)) == link
        file.release()
        links.append(link)
    assert [a[16:] for a in links[:-1]] == [b[:16] for b in links[1:]]
    assert len({link[16:] for link in links}) == 5


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_neighbours_that_sqlite_would_follow_or_wait_for(
    gallery: Gallery, enrolments: Make, ending: str, kind: str
) -> None:
    gallery.enroll(enrolments(3))
    gallery.close()
    beside = gallery.path.with_name(gallery.path.name + ending)
    target = gallery.path.with_name("elsewhere")
    target.write_bytes(b"mine")
    {
        "pipe": lambda: os.mkfifo(beside),
        "link": lambda: beside.symlink_to(target),
        "folder": beside.mkdir,
    }[kind]()
    for readonly in (False, True):
        with pytest.raises(GalleryError, match=f"because of people.faceflow{ending} beside it"):
            Gallery.open(gallery.path, readonly=readonly)
    assert target.read_bytes() == b"mine"


def test_a_journal_of_another_database_is_not_undone_into_the_gallery(
    gallery: Gallery, enrolments: Make
) -> None:
    gallery.enroll(enrolments(3))
    gallery.close()
    before = gallery.path.read_bytes()
    journal = gallery.path.with_name(gallery.path.name + "-journal")
    journal.write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(5000))
    with pytest.raises(GalleryError, match=r"because of people.faceflow-journal"):
        Gallery.open(gallery.path)
    assert gallery.path.read_bytes() == before


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    import socket

    path = tmp_path / "x.faceflow"
    server = socket.socket(socket.AF_UNIX)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    for readonly in (False, True):
        with pytest.raises(GalleryError, match=f"is a (named )?{kind}, not a gallery file"):
            Gallery.open(path, readonly=readonly)
    server.close()
