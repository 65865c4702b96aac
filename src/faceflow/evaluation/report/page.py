"""One self-contained HTML page about a report: loads nothing, runs nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from markupsafe import Markup

from faceflow import __version__
from faceflow.evaluation.experiment import IdentificationResult, Report, VerificationResult
from faceflow.evaluation.report.plots import Series, chart
from faceflow.evaluation.report.texts import about, cells, headings
from faceflow.pages import printable, template

T = TypeVar("T")
# How many experiments a chart shows: more lines could not be told apart.
_MANY, _FEW = 8, 4


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
    return template("faceflow.evaluation.report", "page.html.j2").render(
        title=printable(report.title),
        command=printable(report.command),
        about=[printable(line) for line in about(report)],
        tables=[_table(report, n) for n in range(len(report.tables))],
        charts=_charts(report),
        pictures=[
            {
                "source": Markup("data:image/png;base64,")
                + base64.b64encode(p.png).decode("ascii"),
                "caption": printable(p.caption),
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
            "cells": [printable(cell).partition(" [") for cell in cells(table, row)],
            "missing": bool(row.missing),
        }
        for row in table.rows
    ]
    return {
        "title": printable(table.title),
        "heads": heads,
        "labels": len(table.columns),
        "rows": rows,
        "notes": [printable(note) for note in table.notes],
    }


def _charts(report: Report) -> list[dict[str, Any]]:
    """Alpha sweep, CMC, DET and ROC: those there are, of the first few experiments."""
    swept = [result for result in report.results if len(result.sweep) > 1]
    opened = [result for result in report.results if result.det1 is not None]
    found = [
        _chart("Alpha sweep (the paper's Fig. S3)", swept, _MANY, _sweep, "alpha", "P@1, %"),
        _chart("CMC: found by rank", report.results, _FEW, _cmc, "rank", "queries, %", log_x=True),
        _chart("DET, open set", opened, _FEW, _det, "FPIR", "FNIR", log_x=True, log_y=True),
        _chart("ROC, verification", report.verifications, _FEW, _roc, "FAR", "TAR, %", log_x=True),
    ]
    return [one for one in found if one is not None]


def _chart(
    title: str,
    results: Sequence[T],
    most: int,
    lines: Callable[[T, int], list[Series]],
    x_title: str,
    y_title: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> dict[str, Any] | None:
    if not results:
        return None
    if len(results) > most:
        title = f"{title}; the first {most} of {len(results)} experiments"
    series = [line for n, one in enumerate(results[:most]) for line in lines(one, n)]
    svg = chart(series, x_title, y_title, log_x=log_x, log_y=log_y)
    return {"title": title, "svg": Markup(svg)}


def _name(result: IdentificationResult | VerificationResult) -> str:
    one = result.experiment
    return f"{one.dataset}, {one.query}, {one.network}, {one.method}, {one.protocol}"


def _sweep(result: IdentificationResult, n: int) -> list[Series]:
    alphas = [point.alpha for point in result.sweep]
    name = _name(result).replace(f", alpha {result.experiment.options.alpha:g}", "")
    return [Series(name, alphas, [100 * p.p_at_1 for p in result.sweep], n, n // 8, True)]


def _cmc(result: IdentificationResult, n: int) -> list[Series]:
    return [
        Series(f"{stage}: {_name(result)}", range(1, len(y) + 1), [100 * v for v in y], n, dash)
        for dash, stage, y in ((1, "stage 1", result.cmc1), (0, "stage 2", result.cmc2))
    ]


def _det(result: IdentificationResult, n: int) -> list[Series]:
    return [
        Series(f"{stage}: {_name(result)}", *curve, n, dash)
        for dash, stage, curve in ((1, "stage 1", result.det1), (0, "stage 2", result.det2))
        if curve is not None
    ]


def _roc(result: VerificationResult, n: int) -> list[Series]:
    series = []
    for dash, score, found in ((1, "cosine", result.stage1), (0, "equation 9", result.stage2)):
        x, y = found.roc
        series.append(Series(f"{score}: {_name(result)}", x, [100 * v for v in y], n, dash))
    return series
