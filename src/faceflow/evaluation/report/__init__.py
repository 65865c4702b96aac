"""Reports of measurements: JSON, CSV, Markdown, and one self-contained HTML page."""

from __future__ import annotations

from faceflow.evaluation.report.as_json import SCHEMA, from_json, to_json
from faceflow.evaluation.report.page import html_report
from faceflow.evaluation.report.texts import to_csv, to_markdown
from faceflow.evaluation.report.write import FORMATS, write_report

__all__ = [
    "FORMATS",
    "SCHEMA",
    "from_json",
    "html_report",
    "to_csv",
    "to_json",
    "to_markdown",
    "write_report",
]
