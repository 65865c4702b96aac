"""stdout and stderr as they may be: closed, full, gone, or written to by other libraries."""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import TextIO

OTHER = 1
BROKEN_PIPE = 141


def prepare() -> None:
    """Make the streams safe to write to.

    * Closed ones lead nowhere. Otherwise the next file that is opened, a gallery perhaps, would
      take their number, and a library's message would be written into it.
    * What C libraries write to stderr (about a damaged photo, with text and colour codes out of
      it) goes nowhere, unless FACEFLOW_DEBUG is set; faceflow's own messages still come out.
      Python's warnings are treated alike, unless ``python -W`` asks for them.
    * Names that are not valid Unicode are spelled out instead of raising.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if os.environ.get("FACEFLOW_DEBUG", "") in ("", "0"):
        with contextlib.suppress(OSError):
            _keep_stderr_to_ourselves()
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def finish(command: Callable[[], object]) -> int | str | None:
    """Run a command to its exit code, its output written out.

    Returns:
        What :func:`sys.exit` takes.
    """
    code: int | str | None = 0
    try:
        command()
    except SystemExit as ended:
        code = ended.code
    except BrokenPipeError:  # help is written before any command that would see to it
        code = BROKEN_PIPE
        discard(sys.stdout)
    except OSError as error:
        code = OTHER
        discard(sys.stdout)
        _say(f"error: the answer cannot be written: {error.strerror}.")
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = code or BROKEN_PIPE
            discard(stream)
        except OSError as error:
            discard(stream)
            if stream is sys.stdout:
                code = code or OTHER
                _say(f"error: the answer cannot be written: {error.strerror}.")
    return code


def discard(stream: TextIO) -> None:
    """Lead a stream nowhere, or Python complains about what is left in it when it exits."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _keep_stderr_to_ourselves() -> None:
    if sys.stderr is None:
        return
    sys.stderr.flush()
    own = os.dup(2)  # closed in programs started later
    encoding = sys.stderr.encoding
    discard(sys.stderr)
    sys.stderr = os.fdopen(own, "w", encoding=encoding, errors="backslashreplace", buffering=1)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for the process's life


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
