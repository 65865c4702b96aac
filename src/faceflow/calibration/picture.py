"""Errors against how much of the face is visible, as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from faceflow.calibration.result import CalibrationResult, Rates, VisiblePart
from faceflow.errors import InputError
from faceflow.evaluation.metrics.significance import Interval
from faceflow.evaluation.report.plots import Series, chart, standalone


def trust_picture(result: CalibrationResult) -> str:
    """An SVG document: people missed, and strangers named, against the visible share.

    Both are of people who had no part in the choice, at the calibrated threshold; the same of
    stage 1 alone is dashed.

    Raises:
        InputError: it is not known how much of the faces was visible.
    """
    parts = result.visible
    if not parts:
        raise InputError(
            "it is not known how much of the faces was visible",
            why=f"nothing is known of the covers of {result.origin.network}",
            todo=f"run `faceflow covers learn PHOTOS/ --network {result.origin.network}` first",
        )
    series = [
        *_lines("not found", parts, lambda r: (r.tpir, r.stage1_tpir), 1, missed=True),
        *_lines("stranger named", parts, lambda r: (r.fpir, r.stage1_fpir), 0, missed=False),
    ]
    return standalone(
        chart(series, "visible share of the face, %", "searches that went wrong, %"),
        f"{result.origin.network}: errors against the visible share",
    )


def _lines(
    name: str,
    parts: Sequence[VisiblePart],
    pick: Callable[[Rates], tuple[Interval | None, Interval | None]],
    colour: int,
    *,
    missed: bool,
) -> list[Series]:
    found = []
    for dash, who in enumerate(("", ", stage 1 alone")):
        points = [
            (50 * (part.low + part.high), 100 * (1 - one.estimate if missed else one.estimate))
            for part in parts
            if (one := pick(part.rates)[dash]) is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            found.append(Series(f"{name}{who}", x, y, colour, dash, markers=True))
    return found
