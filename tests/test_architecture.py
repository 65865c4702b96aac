"""The layers of docs/architecture.md hold: imports point down only."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "faceflow"

PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"


def layers() -> dict[str, int]:
    """Room -> row of the page's table, counted from the doors down.

    A module may import from lower rows and from its own room. The page is the rule, so the page
    cannot lie.
    """
    rows = re.findall(r"^\| \w+ \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    return {room: row for row, room in enumerate(rows)}


LEVEL = layers() | {"": 99}


def top(module: str) -> str:
    """The first name below ``faceflow``: "faceflow.gallery.stores.store" -> "gallery"."""
    return ([*module.split("."), ""])[1]


def imports() -> list[tuple[str, str, str]]:
    """(importing part, imported part, where) for every import inside the package."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        relative = path.relative_to(SOURCE).with_suffix("")
        part = "" if relative.name == "__init__" and len(relative.parts) == 1 else relative.parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                names = [node.module or ""]
                if node.module == "faceflow":
                    names = [f"faceflow.{a.name}" for a in node.names if a.name != "__version__"]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            where = f"{relative}:{node.lineno}"
            found += [
                (part, top(name), where) for name in names if name.split(".")[0] == "faceflow"
            ]
    return found


def test_every_part_has_a_layer() -> None:
    parts = {p.stem for p in SOURCE.iterdir() if p.suffix == ".py" and p.stem != "__init__"}
    parts |= {p.name for p in SOURCE.iterdir() if (p / "__init__.py").exists()}
    parts |= {p.stem for p in SOURCE.glob("*.pyi")}  # compiled modules
    assert parts == LEVEL.keys() - {""}, "docs/architecture.md and src/faceflow differ"


def test_imports_point_down() -> None:
    # The package's own __init__ only re-exports, lazily, so it may name any part.
    wrong = [
        f"{where}: {part} imports {other}"
        for part, other, where in imports()
        if part not in ("", other) and not LEVEL[part] < LEVEL[other]
    ]
    assert not wrong, "\n".join(wrong)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = ("faceflow", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def test_no_modules_import_each_other() -> None:
    """Imports that run when a module loads; those inside functions may look back."""
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        graph[name] = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{one.name}" for one in node.names} & known.keys()
                graph[name] |= inside or ({node.module} & known.keys())
            elif isinstance(node, ast.Import):
                graph[name] |= {one.name for one in node.names} & known.keys()
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in graph[name]:
                walk(other, (*way, name))
            done.add(name)

    for name in graph:
        walk(name, ())


@pytest.mark.parametrize("heavy", ["onnxruntime", "cv2", "onnx", "torch"])
def test_importing_faceflow_is_light(heavy: str) -> None:
    code = f"import sys, faceflow; sys.exit({heavy!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0, f"import faceflow loads {heavy}"
