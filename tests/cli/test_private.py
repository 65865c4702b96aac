"""What commands write is for its owner alone; shared folders are no trap."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")

_WITH_MASK = "import os, sys; os.umask(0o002); from faceflow.cli import main; main()"


def faceflow(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITH_MASK, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def readable_by_others(folder: Path) -> list[str]:
    """Everything below a folder that anybody but its owner may do something with."""
    return [str(path) for path in folder.rglob("*") if path.stat().st_mode & 0o077]


@pytest.mark.usefixtures("analyzer")
def test_what_commands_write_is_private(drawn: Path, gallery: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    query = next((drawn / "queries").iterdir())
    faceflow("enroll", drawn / "people", "-g", tmp_path / "new.faceflow")
    assert not (tmp_path / "new.faceflow").stat().st_mode & 0o077
    faceflow("identify", query, "-g", tmp_path / "new.faceflow", "--explain", out / "reasons")
    faceflow("export", out / "exported", "-g", tmp_path / "new.faceflow")
    faceflow("occlude", drawn / "people", out / "covered", "-c", "blur-1")
    found = [path for path in out.rglob("*") if path.is_file()]
    assert {path.suffix for path in found} >= {".html", ".png", ".safetensors"}
    assert readable_by_others(out) == []


def test_a_link_laid_in_a_shared_folder_is_replaced_not_followed(tmp_path: Path) -> None:
    """Another user guesses the name of what will be written and links it to a file of ours."""
    shared, own = tmp_path / "shared", tmp_path / "own.txt"
    shared.mkdir()
    own.write_text("precious")
    photo = tmp_path / "a.png"
    Image.new("RGB", (40, 30), "red").save(photo)
    (shared / "a_blur-1.png").symlink_to(own)
    faceflow("occlude", photo, shared, "-c", "blur-1")
    assert own.read_text() == "precious"
    assert not (shared / "a_blur-1.png").is_symlink()


@pytest.mark.usefixtures("analyzer")
def test_temporary_files_are_in_private_folders(tmp_path: Path, drawn: Path) -> None:
    """Nothing of a command stays in the shared temporary folder, nor does a link there lead it.

    ONNX Runtime wrote its session number through the link that lies here.
    """
    photo = shutil.copy(next((drawn / "queries").iterdir()), tmp_path / "a.png")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "own.txt").write_text("precious")
    (tmp_path / "tmp" / ".ses").symlink_to(tmp_path / "own.txt")
    subprocess.run(
        [sys.executable, "-c", _WITH_MASK, "enroll", photo, "--person", "Ada"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        env={
            **{k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"},
            "TMPDIR": str(tmp_path / "tmp"),
        },
    )
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == [".ses"]
    assert (tmp_path / "own.txt").read_text() == "precious"
