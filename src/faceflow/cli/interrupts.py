"""Ctrl-C ends a command with one line and exit code 130, whatever it meets.

Python raises KeyboardInterrupt wherever the program happens to be. In the middle of an import or a
callback somebody turns that into another error or swallows it, and the user sees a bug, a traceback
or nothing. So a command that has not begun ends at once, and one that has remembers that it was
interrupted, whatever becomes of the exception.
"""

from __future__ import annotations

# Little is imported here: until this is loaded, Ctrl-C is not seen to.
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

INTERRUPTED = 130

_in_charge = False
_asked = False


def take_charge() -> None:
    """Handle Ctrl-C from now on; called by the program, not where a test calls a command.

    Whoever ignores it (nohup, a job in the background) keeps that.
    """
    global _in_charge
    _in_charge = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    sys.unraisablehook = _without_interrupts
    end_at_once()


def end_at_once() -> None:
    """From now on Ctrl-C ends the process: nothing has begun, or all is done."""
    if _in_charge:
        signal.signal(signal.SIGINT, _end)


def raise_from_now_on() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, so that what has begun can be cleaned up."""
    if _in_charge:
        signal.signal(signal.SIGINT, _raise)


def asked() -> bool:
    """Whether Ctrl-C was pressed since the command began."""
    return _asked


def _without_interrupts(found: Any) -> None:
    """Python reports what a callback swallowed; an interrupt is told in the end anyway."""
    if not issubclass(found.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(found)


def _end(number: int, frame: FrameType | None) -> None:
    # Not by an exception: shutting down, too, runs code that would swallow one.
    try:  # noqa: SIM105 - contextlib is not loaded yet
        os.write(sys.stderr.fileno(), b"interrupted\n")
    except Exception:  # closed, full, replaced: the exit code says it too
        pass
    os._exit(INTERRUPTED)


def _raise(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
