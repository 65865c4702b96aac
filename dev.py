#!/usr/bin/env python3
"""One command for everything: python3 dev.py demo | test | check | docs | soak.

Needs only Python 3.11 or newer. Makes a virtual environment in .venv, installs faceflow and
its development tools there, fetches the default weights, and runs the task. The second run
reuses all of it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = Path(os.environ.get("FACEFLOW_VENV", ROOT / ".venv"))
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")


def run(*command: str | Path) -> None:
    """Run one command in the project's folder; stop with its exit code when it fails."""
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    done = subprocess.run(words, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def install(*, groups: tuple[str, ...] = ()) -> None:
    """Create the environment and install faceflow with the named dependency groups.

    Skipped when the same pyproject.toml and sources of the build were installed before.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [line for group in groups for line in project["dependency-groups"][group]]
    state = hashlib.sha256(
        (ROOT / "pyproject.toml").read_bytes() + repr((sys.version, groups)).encode()
    ).hexdigest()
    stamp = ENVIRONMENT / "faceflow-install"
    if stamp.exists() and state in stamp.read_text().split():
        return
    if not PYTHON.exists():
        print(f"creating {ENVIRONMENT}", flush=True)
        venv.create(ENVIRONMENT, with_pip=True)
    run(PYTHON, "-P", "-m", "pip", "install", "--quiet", "--editable", ".", *packages)
    with stamp.open("a") as file:
        file.write(state + "\n")


def demo(rest: list[str]) -> None:
    """Install, fetch the weights, enroll people and identify covered photos of them."""
    install()
    run(BIN / "faceflow", "demo", *rest)


def test(rest: list[str]) -> None:
    """Install, fetch the weights, and run all tests with their coverage."""
    install(groups=("dev", "docs"))
    run(BIN / "faceflow", "models", "pull")
    run(PYTHON, "-m", "pytest", *(rest or ["--cov", "--cov-report=term:skip-covered"]))


def check(rest: list[str]) -> None:
    """The gate: formatting, lint, types, tests, documentation."""
    install(groups=("dev", "docs"))
    run(PYTHON, "-m", "ruff", "format", "--check", ".")
    run(PYTHON, "-m", "ruff", "check", ".")
    run(PYTHON, "-m", "mypy")
    test(rest)
    docs([])


def docs(rest: list[str]) -> None:
    """Build the documentation into site/, without network."""
    install(groups=("dev", "docs"))
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")  # a notice about the theme, no fault here
    run(PYTHON, "-m", "mkdocs", "build", "--strict", "--quiet", *rest)


def soak(rest: list[str]) -> None:
    """Kill, fill, swap and damage galleries for --minutes N; not part of the gate."""
    install()
    run(PYTHON, "tools/soak.py", *rest)


TASKS = {task.__name__: task for task in (demo, test, check, docs, soak)}


def main() -> None:
    """Parse the task's name and run it."""
    if sys.version_info < (3, 11):  # noqa: UP036 - a clear word to users of older ones
        raise SystemExit("faceflow needs Python 3.11 or newer; this is " + sys.version.split()[0])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(dest="task", required=True)
    for name, task in TASKS.items():
        tasks.add_parser(name, help=(task.__doc__ or "").splitlines()[0], add_help=False)
    chosen, rest = parser.parse_known_args()
    TASKS[chosen.task](rest)


if __name__ == "__main__":
    main()
