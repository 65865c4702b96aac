"""The pages keep up with the code, and the README's program runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drawn_people import write_people
from faceflow.analyzer import FaceAnalyzer

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
    menu = re.findall(r": ([\w/]+\.md)", (ROOT / "mkdocs.yml").read_text())
    assert sorted(menu) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_program_runs(
    analyzer: FaceAnalyzer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    photos = write_people(tmp_path / "PHOTOS", people=2, photos_each=2)
    photos[1].rename(tmp_path / "covered.jpg")
    exec(compile(program[1], "README.md", "exec"), {})
    best, *others = capsys.readouterr().out.splitlines()
    assert best.split()[0] == photos[1].parent.name
    assert len(others) == 1
