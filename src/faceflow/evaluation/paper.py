"""The paper's own numbers: Tables S1 to S8 of the appendix of DeepFace-EMD (CVPR 2022).

``paper_tables.csv`` is transcribed from that appendix; cells that could not be read are empty
and their note says so. Numbers are percent, seconds are the authors'. In S6 the one number is
verification accuracy. The body's Tables 1 to 5 are not among them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from faceflow.errors import InputError

TABLES = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8")
SOURCE = "DeepFace-EMD, Phan and Nguyen, CVPR 2022, appendix"

NOTES: dict[str, tuple[str, ...]] = {
    "S1": (
        "The paper says 13,214 queries; a P@1 of 98.6 is only possible on the people with two "
        "photos or more (the 1,680-identity list), which is what is measured here.",
        "The paper's SC, Uniform and LMK rows of the two-stage method are nearly identical, and "
        "on LFW-crop EMD at stage 1 has the higher P@1, against the table's caption.",
        "Our seconds are wall-clock time of ranking all queries on this computer, features kept "
        "ready on disk; the authors' were measured on another machine with other features.",
    ),
    "S2": (
        "A P@1 of 99.9 with an R-precision below 60 suggests that the un-occluded source photo "
        "of each query was in the gallery (an inference; the code leaves it there on LFW).",
    ),
    "S3": ("As in S2: P@1 near 99.8 with R-precision below 40 suggests the same-photo leak.",),
    "S4": (
        "S4 and S8 differ for ArcFace with APC on profiles: 85.56 here, 84.94 in S8.",
        "The paper's 'consistently improves' does not hold here: CosFace with sunglasses falls "
        "from 88.72 to 82.22.",
    ),
    "S5": (
        "The paper's MAP@R of 55.27 for CosFace with SC is surely a misprint (Uniform: 85.11).",
        "LFW is enrolled and TALFW searched with; each attacked photo's original is in LFW.",
    ),
    "S6": (
        "Layer, grid, weighting and alpha of the paper's networks are not stated.",
        "MLFW's own listing has 77.20 for Private-Asia R50, 82.52 for CASIA R50.",
    ),
    "S7": (
        "'3D' is the paper's word; its code uses 2D landmarks (FAN) and a similarity transform.",
        "'two-stage (best)' equals the APC rows of S2 and S3, so APC is measured.",
    ),
    "S8": ("S8 and S4 differ for ArcFace with APC: 84.94 here, 85.56 in S4.",),
}
"""What a reader must know about a table's own numbers."""


@dataclass(frozen=True)
class PaperRow:
    """One line of one of the paper's tables; None where a cell is empty or unreadable."""

    table: str
    dataset: str
    query: str
    model: str
    method: str
    alignment: str
    p_at_1: float | None
    r_precision: float | None
    map_at_r: float | None
    seconds: float | None
    note: str

    @property
    def numbers(self) -> dict[str, float]:
        """Metric -> number; shares as 0 to 1, S6's accuracy under its own name."""
        first = "accuracy" if self.table == "S6" else "P@1"
        shares = {first: self.p_at_1, "RP": self.r_precision, "MAP@R": self.map_at_r}
        found = {name: round(value / 100, 6) for name, value in shares.items() if value is not None}
        return found | ({} if self.seconds is None else {"seconds": self.seconds})


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """Every line, in the paper's order."""
    text = (resources.files("faceflow.evaluation") / "paper_tables.csv").read_text("utf-8")
    return tuple(_row(line) for line in csv.DictReader(text.splitlines()))


def _row(line: dict[str, str]) -> PaperRow:
    def value(name: str) -> float | None:
        return float(line[name]) if line[name] else None

    return PaperRow(
        table=line["table"],
        dataset=line["dataset"],
        query=line["query"],
        model=line["model"],
        method=line["method"],
        alignment=line["alignment"],
        p_at_1=value("p_at_1"),
        r_precision=value("r_precision"),
        map_at_r=value("map_at_r"),
        seconds=value("seconds"),
        note=line["note"],
    )


def paper_table(name: str) -> tuple[PaperRow, ...]:
    """The lines of one table.

    Raises:
        InputError: there is no such table; the message lists those there are.
    """
    if name not in TABLES:
        raise InputError(
            f"the paper's appendix has no table {name!r}",
            why="the body's Tables 1 to 5 were not available",
            todo=f"choose one of {', '.join(TABLES)}",
        )
    return tuple(row for row in paper_rows() if row.table == name)
