"""A user's own settings do not steer the tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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
