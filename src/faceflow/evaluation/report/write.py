"""Write a report in the format its file's ending asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from faceflow.errors import InputError
from faceflow.evaluation.experiment import Report
from faceflow.evaluation.report.as_json import to_json
from faceflow.evaluation.report.page import Picture, html_report
from faceflow.evaluation.report.texts import to_csv, to_markdown
from faceflow.system.files import atomic_write

FORMATS: Mapping[str, Callable[[Report], str]] = {
    ".html": html_report,
    ".md": to_markdown,
    ".csv": to_csv,
    ".json": lambda report: json.dumps(to_json(report), indent=1, allow_nan=False) + "\n",
}
"""File ending -> how it is written."""


def check_format(path: Path) -> None:
    """Raise InputError unless the file's ending is known; ask before long work begins."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"a report cannot be written as {path.name}",
            todo=f"end the file's name in one of {', '.join(FORMATS)}",
        )


def write_report(path: Path, report: Report, pictures: Sequence[Picture] = ()) -> None:
    """Write the report, whole or not at all; pictures go into HTML only.

    Raises:
        InputError: an unknown ending, or the file cannot be written.
    """
    check_format(path)
    suffix = path.suffix.lower()
    text = html_report(report, pictures) if suffix == ".html" else FORMATS[suffix](report)
    try:
        with atomic_write(path) as file:
            file.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {path}", why=error.strerror or str(error)
        ) from error
