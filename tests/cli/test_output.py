"""Tables, JSON and notices."""

from __future__ import annotations

import json

import pytest

from faceflow.cli import output


def test_text_that_could_harm_a_terminal_is_spelled_out() -> None:
    assert output.clean("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"
    assert output.clean("broken \udcff name") == "broken \\udcff name"
    assert output.clean("Zoë 李 [bold]") == "Zoë 李 [bold]"


def test_plain_tables_are_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    output.print_table(("name", "n"), [("李", "1"), (long, "22")], right=("n",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name" + " " * 296 + "   n"
    assert lines[1].endswith(" 1")
    assert lines[2] == f"{long}  22"


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": [float("nan"), 1.5], "b": float("inf"), "ü": None})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": None, "ü": None}
    output.print_json({"a": 1, "b": 2}, line=True)
    assert capsys.readouterr().out == '{"a": 1, "b": 2}\n'


def test_small_words() -> None:
    assert [output.size(n) for n in (999, 41_402_499, 2.5e9)] == ["999 bytes", "41.4 MB", "2.5 GB"]
    assert output.plural(1, "face") == "1 face"
    assert output.plural(1200, "person", "people") == "1,200 people"
    assert [output.number(v) for v in (0.12345, None, float("nan"))] == ["0.123", "-", "-"]


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("working") as advance:
        advance(1, 2)
        advance(2, 2, "more")
    assert capsys.readouterr() == ("", "")
