"""Every kind of failure becomes one sentence and an exit code."""

from __future__ import annotations

import errno

import pytest
import typer

from faceflow import errors
from faceflow.cli import failures
from faceflow.errors import FaceflowError, GalleryError, ImageError, NoFaceError


def ended(error: BaseException) -> int:
    """The exit code of a command that raises ``error``."""

    @failures.translated
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as stopped:
        command()
    return stopped.value.exit_code


def test_own_errors_keep_their_codes(capsys: pytest.CaptureFixture[str]) -> None:
    error = GalleryError("it broke", why="the disk is old", todo="buy a new one")
    assert ended(error) == 5
    assert capsys.readouterr().err == "error: it broke. The disk is old. Buy a new one.\n"


def test_codes_are_told_apart_and_documented() -> None:
    text = failures.__doc__ or ""
    documented = {int(line.split()[0]) for line in text.splitlines() if line[4:5].isdigit()}
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, FaceflowError)
    ]
    special = {0, failures.BUG, failures.INTERRUPTED, failures.BROKEN_PIPE}
    assert {kind.exit_code for kind in kinds} | special == documented


def test_bugs_ask_to_be_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(KeyError("x")) == 70
    err = capsys.readouterr().err
    assert "bug in faceflow: KeyError: 'x' (test_failures.py, line" in err
    assert len(err.splitlines()) == 1


def test_debug_shows_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEFLOW_DEBUG", "1")
    assert ended(KeyError("x")) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 1, "Free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 1, "(/x/y)"),
        (MemoryError(), 1, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_the_system_fails(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error) == code
    err = capsys.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1


def test_many_failures_make_one_code() -> None:
    assert failures.code_of([]) == 0
    assert failures.code_of([ImageError("a"), ImageError("b")]) == 3
    assert failures.code_of([ImageError("a"), NoFaceError("b")]) == 1


def test_sentences_end_once() -> None:
    error = FaceflowError("there is no Adda", todo="did you mean Ada?")
    assert failures.sentence(error) == "there is no Adda. Did you mean Ada?"
