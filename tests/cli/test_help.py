"""Every command explains itself, and asking for help loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import faceflow
from faceflow.cli import app as cli_app

COMMANDS = [[name] for name, *_ in cli_app._COMMANDS] + [
    ["models", name] for name in ("list", "pull", "import", "path", "verify")
]
COMMANDS += [["train", "head"], ["train", "network"]]
COMMANDS += [["covers", name] for name in ("learn", "show", "forget")]
COMMANDS += [
    ["evaluate", name] for name in ("identification", "verification", "table", "figure", "ablation")
]
ANSWERING = [words for words in COMMANDS if words]


def test_all_the_promised_commands_are_there() -> None:
    names = {words[0] for words in COMMANDS}
    promised = "enroll identify verify explain people faces remove rename merge export import"
    more = "models calibrate occlude covers train evaluate demo doctor"
    assert names == {*promised.split(), *more.split()}


@pytest.mark.parametrize(
    "words", [[], ["models"], ["covers"], ["train"], ["evaluate"], *COMMANDS], ids=" ".join
)
def test_help_renders(run, words: list[str]) -> None:
    ran = run(*words, "--help")
    assert "Usage: " in ran.out
    assert ran.err == ""
    assert run(*words, "-h").out == ran.out


@pytest.mark.parametrize("words", ANSWERING, ids=" ".join)
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
