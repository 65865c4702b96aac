"""Every example runs as it is: scripts by their command lines, notebooks cell by cell."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from faceflow.analyzer import FaceAnalyzer
from faceflow.demo import PEOPLE, QUERIES

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
HERE = {"identify_folder", "verify_pair", "choose_threshold", "compare_stages", "camera_loop"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(
    analyzer: FaceAnalyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``analyzer`` skips the test where no weights are."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def few(tmp_path: Path) -> list[str]:
    """Two people to enroll and three queries, one of which shows a stranger."""
    for name in ("Ada", "Bruno"):
        shutil.copytree(PEOPLE / name, tmp_path / "PEOPLE" / name)
    (tmp_path / "QUERIES").mkdir()
    for name in ("Ada-mask", "Bruno-crop", "Leon-mask"):
        shutil.copy(QUERIES / f"{name}.jpg", tmp_path / "QUERIES")
    return ["PEOPLE", "QUERIES"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(name: str, *words: str) -> str:
        monkeypatch.setattr("sys.argv", [f"{name}.py", *words])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


def code_of(notebook: str) -> list[str]:
    """The code cells of a notebook."""
    book = json.loads((EXAMPLES / notebook).read_text(encoding="utf-8"))
    assert book["nbformat"] == 4
    assert not any(cell.get("outputs") for cell in book["cells"]), "kept without outputs"
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]


def play(notebook: str) -> dict[str, Any]:
    """Run a notebook from first to last cell, as in a fresh kernel."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_of(notebook), start=1):
        exec(compile(cell, f"{notebook}, cell {number}", "exec"), names)
    return names


def test_every_example_is_listed_and_tested() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in EXAMPLES.iterdir()} - {"README.md", "__pycache__"}
    assert files == {f"{name}.py" for name in HERE} | {
        "first_steps.ipynb",
        "reproduce_a_table.ipynb",
    }
    assert all(f"`{name}`" in listed for name in files)


def test_identify_folder(run: Any, few: list[str], tmp_path: Path) -> None:
    told = run("identify_folder", *few)
    assert "4 photos enrolled, 0 left out" in told
    assert "ranked (Ada" in told
    assert len(list((tmp_path / "reasons").glob("*.html"))) == 3


def test_verify_pair(run: Any, tmp_path: Path) -> None:
    assert "(same person)" in run("verify_pair", "--threshold", "0.4")
    assert {path.name for path in tmp_path.iterdir()} == {"why.png"}


def test_choose_threshold(run: Any, few: list[str]) -> None:
    told = run("choose_threshold", *few).splitlines()
    assert told[0] == "2 queries of enrolled people, 1 of strangers"
    counts = [[float(n) for n in line.split()] for line in told[2:]]
    assert counts[0][1] >= counts[-1][1]
    assert counts[0][2] <= counts[-1][2]


def test_compare_stages(run: Any, few: list[str]) -> None:
    told = run("compare_stages", *few)
    assert "Ada-mask.jpg" in told
    assert told.count("->") == 4


def test_camera_loop(run: Any, few: list[str]) -> None:
    told = run("camera_loop", "--people", few[0]).splitlines()
    assert len(told) == len(list(QUERIES.iterdir()))
    assert any("Bruno" in line for line in told)


def test_first_steps(capsys: pytest.CaptureFixture[str]) -> None:
    names = play("first_steps.ipynb")
    told = capsys.readouterr().out
    assert "24 photos of 12 people enrolled" in told
    assert "Ada-mask.jpg identified Ada" in told
    assert "Leon-mask.jpg unknown None" in told
    assert "2 faces removed; 11 people left" in told
    assert names["why"].picture().width > 300


def test_reproduce_a_table(
    capsys: pytest.CaptureFixture[str], few: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import faceflow.demo

    monkeypatch.setattr(faceflow.demo, "PEOPLE", Path(few[0]).resolve())
    names = play("reproduce_a_table.ipynb")
    told = capsys.readouterr().out
    assert "mask" in told
    assert "clean" in told
    assert len(names["report"]["results"]) == 2
