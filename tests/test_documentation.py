"""The pages keep up with the code, and the README's program runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from faceflow.analyzer import FaceAnalyzer
from faceflow.demo import PEOPLE, QUERIES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def commands() -> list[str]:
    from typer.main import get_command

    from faceflow.cli.app import app

    return sorted(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_command_is_described() -> None:
    page = (DOCS / "cli.md").read_text()
    missing = [name for name in commands() if f"`faceflow {name}" not in page]
    assert not missing


def test_every_exit_code_is_described() -> None:
    from faceflow import errors
    from faceflow.cli import failures

    page = (DOCS / "errors.md").read_text()
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = {c.exit_code for c in classes if issubclass(c, errors.FaceflowError)}
    codes |= {failures.BUG, failures.INTERRUPTED, failures.BROKEN_PIPE, failures.OTHER}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == codes | {0}


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r": ([\w/-]+\.md)", (ROOT / "mkdocs.yml").read_text())
    assert sorted(menu) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_pictures_of_the_pages_are_there() -> None:
    found = 0
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r'(?:src|srcset)="([^":]+)"', page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name} shows {target}"
            found += 1
    assert found >= 3


@pytest.mark.parametrize(
    ("page", "fence"), [("README.md", "python"), ("docs/index.md", "py")], ids=["readme", "index"]
)
def test_the_first_program_runs(
    page: str,
    fence: str,
    analyzer: FaceAnalyzer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a reader copies it: PHOTOS/ has a folder per person, covered.jpg shows one of them."""
    program = re.search(rf"```{fence}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    for name in ("Ada", "Bruno"):
        shutil.copytree(PEOPLE / name, tmp_path / "PHOTOS" / name)
    shutil.copy(QUERIES / "Ada-mask.jpg", tmp_path / "covered.jpg")
    exec(compile(program[1], page, "exec"), {})
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.split()[0] == "Ada"


def test_what_runs_the_examples_is_not_published() -> None:
    settings = (ROOT / "mkdocs.yml").read_text()
    assert re.search(r"^exclude_docs:.*conftest\.py", settings, re.MULTILINE)
