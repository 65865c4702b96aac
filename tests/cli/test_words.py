"""Options mean one thing in every command, are called alike, and helps fit a narrow terminal."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from typer.models import OptionInfo

import faceflow.cli
from faceflow.cli.app import COMMANDS, GROUPS
from faceflow.cli.groups import flattened

ALL: dict[str, Callable[..., None]] = {name: command for name, (command, _) in COMMANDS.items()}
ALL |= {
    f"{group} {name}": one for group, (_, below) in GROUPS.items() for name, one in below.items()
}

# What is written differs from command to command, and what the processes do; that it is written
# there, and that there are so many, does not.
SAID_APART = {"--output", "--workers"}


def options(command: Callable[..., None]) -> dict[str, OptionInfo]:
    """Long name -> how typer was told of it, of every option of a command."""
    found = {}
    for parameter in inspect.signature(flattened(command)).parameters.values():
        for told in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(told, OptionInfo):
                names = [told.default, *told.param_decls] if told.default else told.param_decls
                found[next(name for name in names or () if name.startswith("--"))] = told
    return found


def groups(command: Callable[..., None]) -> set[type[Any]]:
    return {kind for kind in get_type_hints(command).values() if dataclasses.is_dataclass(kind)}


def test_no_option_has_two_meanings() -> None:
    """What its help says before defaults and repetition; its short name; its form."""
    meanings: dict[str, set[tuple[str, str | None, tuple[str, ...]]]] = defaultdict(set)
    for command in ALL.values():
        for name, told in options(command).items():
            short = tuple(one for one in told.param_decls or () if not one.startswith("--"))
            says = "" if name in SAID_APART else re.split(r" \(default|;|\.", told.help or "")[0]
            metavar = None if name in SAID_APART else told.metavar
            meanings[name].add((says, metavar, short))
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_no_option_is_written_twice() -> None:
    """Commands share an option: its name stands once in the sources."""
    written: list[str] = []
    for path in Path(faceflow.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Option":
                texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
                written += [text for text in texts if text.startswith("--")]
    assert len(written) > 60
    assert {name for name in written if written.count(name) > 1} <= SAID_APART


def test_no_short_name_stands_for_two_options() -> None:
    longs: dict[str, set[str]] = defaultdict(set)
    for command in ALL.values():
        for name, told in options(command).items():
            for short in told.param_decls or ():
                if not short.startswith("--"):
                    longs[short].add(name)
    assert {short: found for short, found in longs.items() if len(found) > 1} == {}


def test_commands_take_groups_and_not_twenty_parameters() -> None:
    for name, command in ALL.items():
        assert len(inspect.signature(command).parameters) <= 11, name
    heavy = {name for name, command in ALL.items() if "--threads" in options(command)}
    shared = {group.__name__ for name in heavy for group in groups(ALL[name])}
    assert {"Here", "Maker", "OneFace", "Scoring", "Data", "Asked", "Subset"} <= shared


@pytest.mark.parametrize("words", ["", *GROUPS, *ALL])
def test_help_fits_a_narrow_terminal(run, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    told = run(*words.split(), "--help").out
    assert max(map(len, told.splitlines())) <= 80
    assert "<bool>" not in told
    assert "list[" not in told
    assert "\u2026" not in told, "nothing is cut off"


def test_what_a_usage_error_quotes_is_made_safe(run) -> None:
    for words in (
        ["people", "\x1b[31mred\x9b2J\u202e"],
        ["pe\x1b[31mople"],
        ["people", "--x\u202ey"],
    ):
        told = run(*words, code=2).err
        assert all(c.isprintable() or c == "\n" for c in told)
