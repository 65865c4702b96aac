"""The demo's HTML page: every query, its answer, and the flow behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from faceflow import __version__
from faceflow.demo.results import DemoResult, DemoRow
from faceflow.pages import printable, template


def demo_page(result: DemoResult) -> str:
    """Write the page; it shows pictures of the output folder, so it lives in that folder.

    Every text is escaped; the page runs no script.
    """
    by_cosine, by_score, asked = result.first
    return template("faceflow.demo", "page.html.j2").render(
        synthetic=result.synthetic,
        people=result.people,
        faces=result.faces,
        right=result.right,
        by_cosine=by_cosine,
        by_score=by_score,
        asked=asked,
        left_out=result.left_out,
        thresholds=result.thresholds,
        alpha=result.options.alpha,
        weighting=result.options.weighting,
        photos=printable(str(result.photos)),
        rows=[_row(row, result.output) for row in result.rows],
        version=__version__,
    )


def _row(row: DemoRow, output: Path) -> dict[str, Any]:
    best, ranks = row.best, row.ranks
    return {
        "query": printable(row.query),
        "person": printable(row.person),
        "enrolled": row.enrolled,
        "cover": row.cover,
        "status": row.status,
        "right": row.right,
        "best": "" if best is None else printable(best.person),
        "score": "" if best is None else f"{best.score:.3f}",
        "cosine": "" if best is None else f"{best.cosine:.3f}",
        "visible_cosine": ""
        if best is None or best.visible_cosine is None
        else f"{best.visible_cosine:.3f}",
        "emd": "" if best is None or best.emd is None else f"{best.emd:.3f}",
        "ranks": "" if ranks is None else f"{ranks[0]} \N{RIGHTWARDS ARROW} {ranks[1]}",
        "covered": _link(row.covered, output),
        "picture": _link(row.report.picture if row.report else None, output),
        "page": _link(row.report.page if row.report else None, output),
        "error": "" if row.error is None else printable(str(row.error)),
    }


def _link(path: Path | None, output: Path) -> str:
    """A file's address relative to the page."""
    return "" if path is None else quote(path.relative_to(output).as_posix())
