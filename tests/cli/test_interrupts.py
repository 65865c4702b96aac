"""Ctrl-C at any moment: exit code 130, at most one line, no traceback, no bug."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# Says when Python itself has started: what is before that is not faceflow's.
START = "from faceflow.cli import main; print('!', flush=True); main()"
MOMENTS = 12
LONGEST = 1.2
"""Seconds; a command that is done by then ends as ever."""


def interrupted(words: list[str], after: float) -> tuple[int, str]:
    """Run a command, interrupt it after so many seconds; its exit code and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A job started in the background inherits an ignored SIGINT; a user's shell does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "!\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    code = process.returncode
    # Python's very last steps are done without its handlers; to a shell that is 130 as well.
    return (130, "interrupted\n") if (code, err) == (-signal.SIGINT, "") else (code, err)


def commands(folder: Path) -> list[list[str]]:
    gallery = str(folder / "people.faceflow")
    return [
        ["--help"],
        ["people", "-g", gallery],
        ["enroll", str(folder), "-g", gallery],
        ["identify", str(folder / "x.jpg"), "-g", gallery],
        ["enroll", str(folder), "-g", gallery, "--offline"],
    ]


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_ctrl_c_at_any_moment(moment: int, tmp_path: Path) -> None:
    words = commands(tmp_path)[moment % 5]
    (tmp_path / "Ada").mkdir()
    for n in range(3):
        (tmp_path / "Ada" / f"{n}.jpg").write_bytes(b"no photo")
    after = random.Random(moment).uniform(0.005, LONGEST)
    code, err = interrupted(words, after)
    assert "Traceback" not in err
    assert "bug in faceflow" not in err
    if code == 130:
        assert err.endswith(("interrupted\n", "interrupted; what was stored before is kept\n"))
    else:  # it was done before
        assert code in {0, 2, 3, 5}, (words, after, err)
        assert "interrupted" not in err


def test_ctrl_c_while_modules_are_loaded(tmp_path: Path) -> None:
    """The moment at which it went wrong: no command takes this short a time to load."""
    for after in (0.01, 0.05, 0.1):
        code, err = interrupted(["people", "-g", str(tmp_path / "none")], after)
        assert (code, err) == (130, "interrupted\n")


def test_an_interrupt_that_somebody_turns_into_another_error_stays_one(tmp_path: Path) -> None:
    """As a C extension does whose import is interrupted."""
    code = """
import os, signal
from faceflow.cli import interrupts, failures
import typer
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupts.take_charge()
def command(how):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        if how == "another error":
            raise ImportError("numpy.core failed to import")
for how in ("another error", "swallowed"):
    interrupts._asked = False
    try:
        failures.translated(command)(how)
    except typer.Exit as ended:
        print(how, ended.exit_code)
class Swallower:
    def __del__(self):
        raise KeyboardInterrupt
Swallower()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "another error 130\nswallowed 130\n"
    assert done.stderr == "interrupted; what was stored before is kept\n" * 2


def test_whoever_ignores_ctrl_c_keeps_ignoring_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", START, "people", "-g", str(tmp_path / "none")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 5
