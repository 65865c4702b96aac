"""Nothing is run or imported from the working folder, whatever lies beside the photos."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceflow import cli
from faceflow.system import programs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="scripts as stand-ins for programs")

SCRIPT = [sys.executable, "-P", "-c", "from faceflow.cli import main; main()"]
MODULE = [sys.executable, "-m", "faceflow"]
# What Python's own start of `-m` loads, from the working folder too, before any code of ours runs.
# Not what site and its .pth files load: the working folder is not on the path yet.
BEYOND_US = set(
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import runpy, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
)
OTHERS = {
    *("pip", "numpy", "onnx", "onnxruntime", "cv2", "PIL", "typer", "rich", "click", "pooch"),
    *("requests", "safetensors", "sitecustomize", "usercustomize", "platformdirs", "torch"),
}


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Written to by whatever runs that must not."""
    return tmp_path / "ran"


@pytest.fixture
def photos(tmp_path: Path, ran: Path) -> Path:
    """A stranger's folder: modules, programs and settings beside a person's photos."""
    folder = tmp_path / "photos"
    (folder / "ada").mkdir(parents=True)
    (folder / "ada" / "1.png").write_bytes(b"\x89PNG")
    hostile = {*sys.stdlib_module_names, *OTHERS} - BEYOND_US
    assert len(hostile) > 200
    assert {"json", "__future__", "typing", "pip"} <= hostile
    for name in hostile:
        (folder / f"{name}.py").write_text(
            f"with open({str(ran)!r}, 'a') as file: file.write({name!r} + chr(10))\n"
            f"raise SystemExit('{name} of the working folder ran')\n"
        )
    for name in ("uv", "pip", "python", "python3", "git", "keyring"):
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> '{ran}'\nexit 9\n")
        (folder / name).chmod(0o755)
    evil = "[global]\nindex-url = http://127.0.0.1:9/evil/\nno-index = false\n"
    (folder / "pip.conf").write_text(evil)
    (folder / "uv.toml").write_text('index-url = "http://127.0.0.1:9/evil/"\n')
    return folder


def call(program: list[str], photos: Path, *words: str, **more: str) -> tuple[int, str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV"))}
    environment = plain | {
        "PATH": os.pathsep.join(["", ".", *plain["PATH"].split(os.pathsep)]),
        "FACEFLOW_CACHE": str(photos.parent / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",  # the real pip gives up at once, and says so
        **more,
    }
    done = subprocess.run(
        [*program, *words], cwd=photos, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])
def test_a_fetch_runs_no_module_and_no_program_from_there(
    program: list[str], photos: Path, ran: Path
) -> None:
    pytest.importorskip("pip", reason="this Python has no pip to test with")
    for words in (["enroll", ".", "-g", "../people.faceflow"], ["models", "pull"]):
        code, said = call(program, photos, *words)
        assert not ran.exists(), f"{ran.read_text()} {said}"
        assert code == 6, said
        assert "No matching distribution found" in said, "the real pip was not reached"


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])
def test_a_checkpoint_is_read_without_them(program: list[str], photos: Path, ran: Path) -> None:
    (photos / "own.pth").write_bytes(b"\x80\x02cos\nsystem\n.")
    code, said = call(program, photos, "models", "import", "arcface", "own.pth")
    assert not ran.exists(), f"{ran.read_text()} {said}"
    assert code == 6, said
    assert "os.system" in said


def test_an_absolute_python_path_goes_on_working(photos: Path, ran: Path, tmp_path: Path) -> None:
    """Also for the child process, and without the empty entry beside it."""
    (tmp_path / "own").mkdir()
    path = f"{tmp_path / 'own'}:{tmp_path}"
    (photos / "own.pth").write_bytes(b"\x80\x02cos\nsystem\n.")
    code, said = call(SCRIPT, photos, "models", "import", "arcface", "own.pth", PYTHONPATH=path)
    assert code == 6, said
    assert not ran.exists()


def test_the_folder_leaves_the_module_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = ["/elsewhere", str(tmp_path / "below")]
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", ".", *kept, f"{tmp_path}/."])
    cli.leave_working_folder()
    assert sys.path == kept


@pytest.mark.parametrize("home", [Path(os.__file__).parent, Path(cli.__file__).parents[2]])
def test_the_folder_of_python_or_faceflow_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "path", [str(home.resolve()), "/elsewhere"])
    cli.leave_working_folder()
    assert sys.path == [str(home.resolve()), "/elsewhere"]


def test_programs_are_found_in_absolute_entries_only(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "ada/.."]))
    assert programs.find_program("uv") is None
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", str(tmp_path), str(photos)]))
    assert programs.find_program("uv") == str(photos / "uv"), "the user named it in full"
    monkeypatch.delenv("PATH")
    assert programs.find_program("uv") is None


def test_the_environment_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "/usr/bin", "/usr/bin", "bin"]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "src"]))
    clean = programs.environment()
    assert clean["PATH"] == "/usr/bin"
    assert "PYTHONPATH" not in clean
    monkeypatch.delenv("PATH")
    assert "PATH" not in programs.environment()
