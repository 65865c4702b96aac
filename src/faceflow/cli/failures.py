"""What a user sees when a command fails: one plain sentence on stderr and an exit code.

Exit codes:
    0    all fine ("unknown" is an answer, not a failure)
    1    something outside faceflow failed (a full disk), or photos failed for several reasons
    2    a wrong option or argument
    3    a photo cannot be read
    4    no face in a photo
    5    a gallery cannot be opened, read or written
    6    network weights are missing or damaged
    7    an optional package is missing
    70   a bug in faceflow
    130  interrupted by Ctrl-C
    141  whoever read the output went away (broken pipe)
"""

from __future__ import annotations

import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import typer

from faceflow.cli.interrupts import INTERRUPTED, asked, end_at_once, raise_from_now_on
from faceflow.cli.output import say
from faceflow.cli.streams import BROKEN_PIPE, discard
from faceflow.errors import FaceflowError

OTHER = FaceflowError.exit_code
BUG = 70

P = ParamSpec("P")
R = TypeVar("R")


def translated(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that every failure ends as one sentence and an exit code.

    With FACEFLOW_DEBUG=1 the traceback comes first.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            raise_from_now_on()
            answer = command(*args, **kwargs)
            # A reader that went away must show up here, not while Python shuts down.
            sys.stdout.flush()
        except BaseException as error:
            end_at_once()
            # An interrupted import or callback may come out as any error, or as none.
            if asked() or isinstance(error, KeyboardInterrupt):
                raise _interrupted() from None
            if not isinstance(error, Exception) or isinstance(error, (*_PARSERS, BrokenPipeError)):
                if isinstance(error, BrokenPipeError):
                    discard(sys.stdout)
                    raise typer.Exit(BROKEN_PIPE) from None
                raise
            if os.environ.get("FACEFLOW_DEBUG", "") not in ("", "0"):
                traceback.print_exc()
            raise typer.Exit(report(error)) from None
        end_at_once()
        if asked():
            raise _interrupted()
        return answer

    return run


_PARSERS = (typer.Exit, typer.Abort, typer.BadParameter)


def _interrupted() -> typer.Exit:
    say("interrupted; what was stored before is kept")
    return typer.Exit(INTERRUPTED)


def report(error: Exception) -> int:
    """Say what went wrong on stderr; returns the exit code."""
    if isinstance(error, FaceflowError):
        fail(sentence(error))
        return error.exit_code
    if isinstance(error, OSError):
        fail(_about_os(error))
        return OTHER
    if isinstance(error, MemoryError):
        fail("There is not enough memory for this. Close other programs or use smaller photos.")
        return OTHER
    fail(
        f"This is a bug in faceflow: {type(error).__name__}: {error} ({_where(error)}). Please "
        "report it with what FACEFLOW_DEBUG=1 shows for the same command and the output of "
        "'faceflow doctor'."
    )
    return BUG


def sentence(error: FaceflowError) -> str:
    """What happened, why, and what to do, as sentences."""
    why, todo = (part[:1].upper() + part[1:] for part in (error.why, error.todo))
    parts = [part.rstrip() for part in (error.what, why, todo) if part]
    return " ".join(part if part[-1] in ".?!" else f"{part}." for part in parts)


def fail(message: object) -> None:
    """One line on stderr, marked as an error."""
    say(message, label="error", style="bold red")


def code_of(errors: list[FaceflowError]) -> int:
    """One exit code for many failures: theirs when they share one, else 1; 0 without any."""
    codes = {error.exit_code for error in errors}
    if not codes:
        return 0
    return codes.pop() if len(codes) == 1 else OTHER


def _about_os(error: OSError) -> str:
    what = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    where = f" ({error.filename})" if error.filename is not None else ""
    todo = {
        errno.ENOSPC: " Free some space; what was stored before is kept.",
        errno.EDQUOT: " Free some space; what was stored before is kept.",
        errno.EACCES: " Check who may read and write there.",
        errno.EPERM: " Check who may read and write there.",
        errno.EROFS: " Choose a place that can be written.",
        errno.EEXIST: " Choose another name or remove it first.",
        errno.ENOENT: " Check the name.",
    }.get(error.errno or 0, "")
    return f"{what}{where}.{todo}"


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no place known"
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"
