"""The installed program as a process: pipes, Ctrl-C, terminals, encodings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX"),
    pytest.mark.usefixtures("analyzer"),
]
FACEFLOW = [sys.executable, "-m", "faceflow"]


def environment(**more: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    return plain | {"TERM": "xterm-256color", "COLUMNS": "100"} | more


def test_broken_pipe_is_quiet(gallery: Path) -> None:
    process = subprocess.Popen(
        [*FACEFLOW, "faces", "-g", str(gallery)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # before anything can be written
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert err == b""


def test_ctrl_c_ends_with_one_line_and_keeps_what_is_done(drawn: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*FACEFLOW, "demo", "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
        # A job started in the background inherits an ignored SIGINT; a user's shell does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    assert "not real" in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted; what was stored before is kept\n"
    assert out == ""


def test_broken_names_and_a_poor_encoding(gallery: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"no \xff such.png")
    done = subprocess.run(
        [*FACEFLOW, "identify", str(tmp_path / name), "-g", str(gallery), "--json"],
        capture_output=True,
        env=environment(PYTHONIOENCODING="ascii"),
        check=False,
    )
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
    assert b"\\udcff" in done.stdout


def in_terminal(words: Sequence[str], answer: str = "", **env: str) -> tuple[int, str]:
    """Run a command on a terminal of its own; returns the exit code and what was shown."""
    import pty

    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*FACEFLOW, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment(**env),
        start_new_session=True,
    )
    os.close(terminal)
    if answer:
        os.write(controller, answer.encode())
    shown = b""
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:  # the other side is closed: all has been read
            break
        if not part:
            break
        shown += part
    os.close(controller)
    return process.wait(timeout=60), shown.decode()


def test_removing_asks_on_a_terminal(gallery: Path) -> None:
    words = ["remove", "Ada", "-g", str(gallery)]
    code, shown = in_terminal(words, "n\n")
    assert code == 1
    assert "Remove Ada with 2 faces for good?" in shown
    assert "nothing was removed" in shown
    code, shown = in_terminal(words, "y\n")
    assert code == 0
    assert "removed Ada with 2 faces" in shown


def test_colours_on_a_terminal_unless_refused(gallery: Path) -> None:
    words = ["people", "-g", str(gallery)]
    code, shown = in_terminal(words)
    assert (code, "\x1b[1m" in shown) == (0, True)
    code, plain = in_terminal(words, NO_COLOR="1")
    assert code == 0
    assert "\x1b[3" not in plain
    assert "Ada" in plain


def test_progress_and_answers_on_a_terminal(drawn: Path, gallery: Path) -> None:
    query = drawn / "queries" / "Ada-mask.png"
    code, shown = in_terminal(["identify", str(query), "-g", str(gallery), "-t", "0.3"])
    assert code == 0
    assert "identifying" in shown
    assert "identified" in shown
