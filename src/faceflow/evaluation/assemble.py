"""Tables and results into one report that says how it was made."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata

from faceflow import __version__
from faceflow.evaluation.cells import Bench
from faceflow.evaluation.experiment import Report, Table

_PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow")


def assemble(
    title: str, command: str, bench: Bench, tables: Sequence[Table], started: float
) -> Report:
    """A report of what a bench has measured.

    Args:
        title: what it is about.
        command: the command line.
        bench: holds the results.
        tables: the answers.
        started: ``time.perf_counter()`` when the work began.
    """
    return Report(
        title=title,
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - started, 3),
        versions=versions(),
        data=bench.lab.summaries(),
        tables=tuple(tables),
        results=tuple(bench.results),
        verifications=tuple(bench.verifications),
    )


def versions() -> dict[str, str]:
    """faceflow, Python, the machine, and the packages that numbers may depend on."""
    found = {
        "faceflow": __version__,
        "Python": platform.python_version(),
        "machine": platform.machine(),
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # another build of the same module
            found[name] = "unknown"
    return found
