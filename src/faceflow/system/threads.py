"""How many CPU threads may be asked for."""

from __future__ import annotations

from faceflow.errors import InputError

MAX_THREADS = 1024
"""More than any machine this runs on has; a million would only be started, one after the other."""


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that no machine has; None means all cores.

    Raises:
        InputError: ``threads`` is below 1 or above :data:`MAX_THREADS`.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InputError(
            f"threads is {threads}",
            why=f"it must be 1 to {MAX_THREADS}",
            todo="give the number of cores to use, or nothing for all of them",
        )
