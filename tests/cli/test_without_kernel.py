"""An installation without the compiled kernel does the same job, on NumPy alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HIDDEN = "import sys; sys.modules['faceflow._kernel'] = None\n"
MAIN = "from faceflow.cli import main; main()\n"
CHECK = "from faceflow.matching.transport import native; assert not native.available()\n"


def command(code: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("loaded")  # skips with the reason without weights
def test_identify_agrees_with_the_kernel(drawn: Path, gallery: Path, tmp_path: Path) -> None:
    def answers(code: str) -> list[Any]:
        told = command(code, "identify", drawn / "queries", "-g", gallery, "--json")
        return [json.loads(line) for line in told.splitlines()]

    def ranking(answer: Any) -> list[tuple[str, float]]:
        return [(match["person"], match["score"]) for match in answer["matches"]]

    ours, plain = answers(MAIN), answers(HIDDEN + CHECK + MAIN)
    assert len(ours) == len(plain) == 4
    for one, other in zip(ours, plain, strict=True):
        assert [name for name, _ in ranking(one)] == [name for name, _ in ranking(other)]
        # Patches are rounded to int8 by both; the kernel rounds the query's as well.
        assert [score for _, score in ranking(one)] == pytest.approx(
            [score for _, score in ranking(other)], abs=2e-3
        )
    people = tmp_path / "new.faceflow"
    command(HIDDEN + CHECK + MAIN, "enroll", drawn / "people", "-g", people)
    told = command(MAIN, "identify", drawn / "queries", "-g", people, "--json")
    names = [json.loads(line)["matches"][0]["person"] for line in told.splitlines()]
    assert names == [answer["matches"][0]["person"] for answer in ours]


def test_the_doctor_says_so() -> None:
    code = HIDDEN + (
        "from faceflow import doctor\n"
        "check = next(c for c in doctor.examine() if c.name == 'transport')\n"
        "print(check.verdict, check.detail)\n"
    )
    told = command(code)
    assert told.startswith("note NumPy backend, without the compiled kernel: ")
    assert "C++17 compiler" in told
    assert "times as long" in told
