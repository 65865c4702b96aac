"""Whatever a path leads to, opening it neither waits nor takes more memory than stated."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from faceflow.errors import GalleryError, ImageError, InputError
from faceflow.system.files import is_regular, open_regular, read_regular, read_text, require_regular

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"", b"x", b"x" * 3_000_000):
        path.write_bytes(content)
        assert read_regular(path, limit=3_000_000) == content
    with open_regular(path, limit=None) as file:
        assert file.read() == content
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_regular(str(link), limit=3_000_000) == content
    assert is_regular(link)


def test_a_file_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "endless"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: takes no space
    for look in (open_regular, read_regular, require_regular):
        with pytest.raises(InputError, match=r"too large\. it holds 1099\.5 GB"):
            look(path, limit=1000)
    path.write_bytes(b"x" * 1000)
    assert len(read_regular(path, limit=1000)) == 1000
    with pytest.raises(InputError, match="at most 999 bytes"):
        read_regular(path, limit=999)


@posix
@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device", "a folder"])
@pytest.mark.parametrize("linked", [False, True])
def test_anything_but_a_file_is_refused(kind: str, linked: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    listener = socket.socket(socket.AF_UNIX)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        listener.bind(str(path))
    elif kind == "a folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    for look in (open_regular, read_regular, require_regular):
        with pytest.raises(ImageError) as found:
            look(path, limit=10**9, kind="photo", error=ImageError)
        assert str(found.value) == (
            f"The photo {path} cannot be read. it is {kind}. give a regular file."
        )
    assert not is_regular(path)
    listener.close()


@posix
def test_a_path_that_changes_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pipe = tmp_path / "x.jpg", tmp_path / "pipe"
    path.write_bytes(b"a photo")
    os.mkfifo(pipe)
    honest = path.stat()
    pipe.replace(path)
    monkeypatch.setattr("faceflow.system.files.Path.stat", lambda _: honest)
    with pytest.raises(InputError, match="it is a pipe"):
        read_regular(path, limit=100)


@posix
def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_bytes(b"12345")
    lowest = os.dup(0)
    os.close(lowest)
    for path in (tmp_path / "pipe", tmp_path / "a", tmp_path / "none", tmp_path):
        for limit in (2, 10):
            try:
                read_regular(path, limit=limit)
            except InputError:
                continue
    after = os.dup(0)
    os.close(after)
    assert after == lowest


@pytest.mark.parametrize("path", ["missing", "a\0b", "x" * 5000])
def test_a_path_that_leads_nowhere(path: str, tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match=r"The gallery .* cannot be read"):
        read_regular(
            os.fspath(tmp_path) + os.sep + path, limit=9, kind="gallery", error=GalleryError
        )
    assert not is_regular(path)


@posix
def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="circle"):
        read_regular(tmp_path / "a", limit=9)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux's /proc")
def test_a_file_that_hides_its_size_is_limited_all_the_same() -> None:
    assert read_regular("/proc/self/status", limit=10**6).startswith(b"Name:")
    with pytest.raises(InputError, match="holds more, and at most 10 bytes"):
        read_regular("/proc/self/status", limit=10)


def test_text_is_utf8(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfZo\xc3\xab")
    assert read_text(tmp_path / "a") == "Zoë"
    (tmp_path / "a").write_bytes(b"Zo\xeb")
    with pytest.raises(InputError, match="not UTF-8"):
        read_text(tmp_path / "a", kind="list")


@posix
def test_programs_started_later_do_not_get_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    with open_regular(tmp_path / "a", limit=10) as file:
        code = f"import os; os.fstat({file.fileno()})"
        done = subprocess.run(
            [sys.executable, "-c", code], close_fds=False, capture_output=True, check=False
        )
        assert b"Bad file descriptor" in done.stderr
