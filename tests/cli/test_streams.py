"""stdout and stderr closed, full, gone or written to by C libraries; hostile names on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceflow.cli import output

pytestmark = pytest.mark.skipif(os.name != "posix", reason="descriptors of POSIX")
FACEFLOW = f"{sys.executable} -m faceflow"


def shell(line: str, folder: Path) -> tuple[int, str, str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("FACEFLOW")}
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, check=False, cwd=folder, env=plain
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("models list >&-", 0),
        ("models list 2>&-", 0),
        ("models list >&- 2>&- <&-", 0),
        ("--version >&-", 0),
        ("people >&-", 5),
        ("people 2>&-", 5),
        ("people 2>/dev/full", 5),
        ("models list >/dev/full", 1),
        ("--help >/dev/full", 1),
        ("--version >/dev/full", 1),
        ("models list >/dev/full 2>/dev/full", 1),
        ("nonsense 2>/dev/full", 1),
    ],
)
def test_closed_and_full_streams_end_properly(line: str, code: int, tmp_path: Path) -> None:
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    found, _, err = shell(f"{FACEFLOW} {line}", tmp_path)
    assert found == code, err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    if ">/dev/full" in line and "2>" not in line:
        assert err.splitlines()[-1].startswith("error: ")
        assert "No space left" in err.splitlines()[-1]


def test_a_file_opened_while_stdout_is_closed_is_not_written_to(tmp_path: Path) -> None:
    """It would take number 1, and a message of a C library would go into it."""
    code = """
import os, sys
from faceflow.cli import streams
streams.prepare()
with open("kept", "wb") as file:
    os.write(1, b"from a C library"); os.write(2, b"another")
print("answer"); sys.stderr.write("notice")
sys.exit(streams.finish(lambda: None))
"""
    (tmp_path / "run.py").write_text(code)
    assert shell(f"{sys.executable} run.py >&- 2>&- <&-", tmp_path)[0] == 0
    assert (tmp_path / "kept").read_bytes() == b""


def test_what_c_libraries_and_warnings_write_to_stderr_does_not_come_out(tmp_path: Path) -> None:
    code = """
import os, sys, warnings
from faceflow.cli import streams
streams.prepare()
os.write(2, b"\\x1b[31mTIFFReadDirectory: from a photo")
warnings.warn("Tag data larger than file")
sys.stderr.write("own notice")
"""
    (tmp_path / "run.py").write_text(code)
    assert shell(f"{sys.executable} run.py", tmp_path) == (0, "", "own notice")
    _, _, err = shell(f"FACEFLOW_DEBUG=1 {sys.executable} run.py", tmp_path)
    assert "TIFFReadDirectory" in err
    assert "Tag data" in err


HOSTILE = "a\x1b[2J\x9b31m\u202eb\x7f\u2028\udcff\U000e0041ü李.png"


def test_json_says_hostile_names_in_escapes_and_means_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_json({HOSTILE: [HOSTILE, 1.5]})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {HOSTILE: [HOSTILE, 1.5]}
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "ü李" in shown


def test_no_command_shows_a_hostile_name_raw(tmp_path: Path) -> None:
    folder = tmp_path / "people" / "Ada"
    folder.mkdir(parents=True)
    name = os.fsencode("x\x1b[31m\x9b2J\u202e.jpg")
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"no photo")
    for options in ("", "--json"):
        code, out, err = shell(f"{FACEFLOW} occlude people out -c blob {options}", tmp_path)
        assert code == 3
        assert "x\\x1b[31m" in err
        for text in (out, err):
            assert all(c.isprintable() or c == "\n" for c in text)


def test_a_million_threads_are_refused(tmp_path: Path) -> None:
    code, _, err = shell(f"{FACEFLOW} enroll --threads 99999999 .", tmp_path)
    assert code == 2
    assert "1024" in err
