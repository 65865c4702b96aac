"""Every promise of docs/security.md names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 20
    missing = []
    for file, name in named:
        path = ROOT / file
        tree = ast.parse(path.read_text()) if path.exists() else ast.Module([], [])
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if name not in functions:
            missing.append(f"{file}::{name}")
    assert not missing


def test_every_promise_names_a_test() -> None:
    promises = PAGE.split("## What we promise")[1].split("## What we do not")[0]
    items = re.split(r"^\* ", promises, flags=re.MULTILINE)[1:]
    without = [item.split("\n")[0] for item in items if "::test_" not in item]
    assert not without


def test_the_numbers_are_the_programs() -> None:
    from faceflow.faces.photo_limits import FILE_LIMIT, MAX_PIXELS, MEMORY_LIMIT
    from faceflow.system.files import LIST_LIMIT

    assert f"{FILE_LIMIT // 2**20} MiB for a photo" in PAGE
    assert f"{LIST_LIMIT // 2**20} MiB for a list" in PAGE
    assert f"at most {MEMORY_LIMIT // 10**6} MB" in PAGE
    assert f"{MAX_PIXELS // 10**6} million\n  pixels" in PAGE
    errors = (ROOT / "docs" / "errors.md").read_text()
    assert f"{MEMORY_LIMIT // 10**6} MB" in errors
    assert f"{MAX_PIXELS // 10**6} million pixels" in errors


def test_how_to_report_leads_to_the_page() -> None:
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text()
