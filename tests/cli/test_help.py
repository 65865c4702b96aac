"""Every command explains itself, and asking for help loads nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import faceflow
from faceflow.cli.app import COMMANDS as COMMANDS_ALONE
from faceflow.cli.app import GROUPS

COMMANDS = [[name] for name in COMMANDS_ALONE] + [
    [group, name] for group, (_, commands) in GROUPS.items() for name in commands
]


def test_all_the_promised_commands_are_there() -> None:
    names = {words[0] for words in COMMANDS}
    promised = "enroll identify verify explain people faces remove rename merge export import"
    more = "models calibrate occlude covers train evaluate demo doctor serve audit cluster"
    assert names == {*promised.split(), *more.split()}


@pytest.mark.parametrize("words", [[], *([group] for group in GROUPS), *COMMANDS], ids=" ".join)
def test_help_renders(run, words: list[str]) -> None:
    ran = run(*words, "--help")
    assert "Usage: " in ran.out
    assert ran.err == ""
    assert run(*words, "-h").out == ran.out


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if words[-1] != "serve"], ids=" ".join
)
def test_every_command_answers_in_json(run, words: list[str]) -> None:
    assert "--json" in run(*words, "--help").out


def test_version(run) -> None:
    assert run("--version").out == f"faceflow {faceflow.__version__}\n"


def test_unknown_command_and_option(run) -> None:
    assert "recognise" in run("recognise", code=2).err
    assert "--shiny" in run("people", "--shiny", code=2).err


def test_asking_for_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, faceflow.cli.app; print(*{'numpy', 'cv2', 'onnx', 'onnxruntime', 'PIL', "
        "'safetensors', 'jinja2'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_python_dash_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faceflow", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("faceflow ")


def test_defaults_that_are_words_are_shown(run) -> None:
    """Square brackets in help are markup to rich, which shows nothing of an unknown one."""
    told = " ".join(run("evaluate", "identification", "--help").out.replace("│", " ").split())
    assert "the network's own" in told
    assert "user's cache folder" in told


@pytest.mark.skipif(os.name != "posix", reason="bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("faceflow ide", {"identify"}),
        ("faceflow identify --weigh", {"--weighting"}),
        ("faceflow identify --face ", {"largest", "centre", "all"}),
        ("faceflow evaluate iden", {"identification"}),
    ],
)
def test_completion_offers_commands_options_and_values(typed: str, offered: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "from faceflow.cli import main; main()"],
        env=os.environ | words | {"_FACEFLOW_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="bash")
def test_completion_is_installed_where_the_shell_looks(tmp_path: Path) -> None:
    home = os.environ | {"HOME": str(tmp_path)}
    code = "from faceflow.cli import main; main()"
    words = [sys.executable, "-c", code, "--install-completion", "bash"]
    done = subprocess.run(words, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "faceflow" in (tmp_path / ".bash_completions" / "faceflow.sh").read_text()
    assert "faceflow.sh" in (tmp_path / ".bashrc").read_text()
