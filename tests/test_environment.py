"""A user's own settings do not steer the tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KEPT = {"FACEFLOW_CACHE"}  # where the weights lie that the tests need
SETTING = re.compile(r"FACEFLOW_[A-Z][A-Z_]*[A-Z]")


def settings() -> set[str]:
    """Every variable that the package's source names."""
    sources = (ROOT / "src" / "faceflow").rglob("*.py")
    return {name for path in sources for name in SETTING.findall(path.read_text("utf-8"))}


def test_no_setting_reaches_a_test() -> None:
    assert {"FACEFLOW_GALLERY", "FACEFLOW_ISA", "FACEFLOW_OFFLINE"} <= settings()
    assert not (settings() - KEPT) & os.environ.keys()


@pytest.mark.parametrize("own", [None, "20"])
def test_waiting_threads_of_numpy_sleep_unless_told_otherwise(own: str | None) -> None:
    name = "OPENBLAS_THREAD_TIMEOUT"
    env = {k: v for k, v in os.environ.items() if k != name} | ({name: own} if own else {})
    code = f"import faceflow, os, sys; print(os.environ[{name!r}], 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [own or "4", "False"]


def test_tests_pass_whatever_is_set() -> None:
    """One that depends on the instruction set, and this one's neighbour, in a bad environment."""
    bad = dict.fromkeys(settings() - KEPT, "no-such-thing")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/test_environment.py::test_no_setting_reaches_a_test",
            "tests/matching/transport/test_native.py::test_the_running_backend_is_said",
        ],
        cwd=ROOT,
        env=os.environ | bad,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
