"""One self-contained HTML page about a report: loads nothing, runs nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from faceflow import __version__
from faceflow.evaluation.experiment import IdentificationResult, Report, VerificationResult
from faceflow.evaluation.report.plots import Series, chart
from faceflow.evaluation.report.texts import about, cells, headings


@dataclass(frozen=True)
class Picture:
    """A PNG to show on the page, with its caption."""

    png: bytes
    caption: str


def html_report(report: Report, pictures: Sequence[Picture] = ()) -> str:
    """The report as one HTML file.

    Args:
        report: what was measured.
        pictures: shown at the end. None are by default: the page may be passed on, and photos
            of research sets must not be.
    """
    return _template().render(
        title=_clean(report.title),
        command=_clean(report.command),
        about=[_clean(line) for line in about(report)],
        tables=[_table(report, n) for n in range(len(report.tables))],
        charts=_charts(report),
        pictures=[
            {
                "source": Markup("data:image/png;base64,")
                + base64.b64encode(p.png).decode("ascii"),
                "caption": _clean(p.caption),
            }
            for p in pictures
        ],
        version=__version__,
    )


def _table(report: Report, place: int) -> dict[str, Any]:
    table = report.tables[place]
    heads = headings(table)
    rows = [
        {
            # A number and its interval apart, so that the page can set the latter small.
            "cells": [_clean(cell).partition(" [") for cell in cells(table, row)],
            "missing": bool(row.missing),
        }
        for row in table.rows
    ]
    return {
        "title": _clean(table.title),
        "heads": heads,
        "labels": len(table.columns),
        "rows": rows,
        "notes": [_clean(note) for note in table.notes],
    }


def _charts(report: Report) -> list[dict[str, Any]]:
    """Alpha sweep, CMC, DET and ROC: those there are."""
    found: list[tuple[str, list[Series], str, str, bool, bool]] = [
        (
            "Alpha sweep (the paper's Fig. S3)",
            _sweeps(report.results),
            "alpha",
            "P@1, %",
            False,
            False,
        ),
        ("CMC: found by rank", _cmcs(report.results), "rank", "queries, %", True, False),
        ("DET, open set", _dets(report.results), "FPIR", "FNIR", True, True),
        ("ROC, verification", _rocs(report.verifications), "FAR", "TAR, %", True, False),
    ]
    return [
        {"title": title, "svg": Markup(chart(series, x, y, log_x=log_x, log_y=log_y))}
        for title, series, x, y, log_x, log_y in found
        if series
    ]


def _name(result: IdentificationResult | VerificationResult) -> str:
    one = result.experiment
    return f"{one.dataset}, {one.query}, {one.network}, {one.weighting}, {one.protocol}"


def _sweeps(results: Sequence[IdentificationResult]) -> list[Series]:
    shown = {_name(r): r for r in results if len(r.sweep) > 1}
    return [
        Series(name, [p.alpha for p in r.sweep], [100 * p.p_at_1 for p in r.sweep], n, n // 8, True)
        for n, (name, r) in enumerate(list(shown.items())[:8])
    ]


def _cmcs(results: Sequence[IdentificationResult]) -> list[Series]:
    series = []
    for n, r in enumerate(results[:4]):
        ranks = range(1, len(r.cmc1) + 1)
        alpha = r.experiment.alpha
        for dash, stage, values in (
            (1, "stage 1", r.cmc1),
            (0, f"stage 2, alpha {alpha:g}", r.cmc2),
        ):
            series.append(Series(f"{_name(r)}: {stage}", ranks, [100 * v for v in values], n, dash))
    return series


def _dets(results: Sequence[IdentificationResult]) -> list[Series]:
    series = []
    for n, r in enumerate(results[:4]):
        for dash, stage, curve in ((1, "stage 1", r.det1), (0, "stage 2", r.det2)):
            if curve is not None:
                series.append(Series(f"{_name(r)}: {stage}", *curve, n, dash))
    return series


def _rocs(results: Sequence[VerificationResult]) -> list[Series]:
    series = []
    for n, r in enumerate(results[:4]):
        for dash, score, found in ((1, "cosine", r.stage1), (0, "equation 9", r.stage2)):
            x, y = found.roc
            series.append(Series(f"{_name(r)}: {score}", x, [100 * v for v in y], n, dash))
    return series


def _clean(text: str) -> str:
    """Text without broken encodings, which no file could hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _template() -> jinja2.Template:
    source = (resources.files("faceflow.evaluation.report") / "page.html.j2").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)
