"""The options that the ``evaluate`` commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceflow.cli.options import ChooseOne, WholeImage

_DATA = "Data"
_SCORING = "Scoring"
_SUBSET = "Subset"

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="A data set and its folder; may be repeated. Names: folder, lfw, calfw, cplfw, agedb, "
        "cfp, talfw, mlfw, rof, rmfrd, bin.",
        metavar="NAME=PATH",
        rich_help_panel=_DATA,
    ),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data-option",
        help="An option of a reader, e.g. lfw.pairs=pairs.txt; may be repeated.",
        metavar="NAME.OPTION=VALUE",
        rich_help_panel=_DATA,
    ),
]
Face = Annotated[
    ChooseOne | None,
    typer.Option(
        "--face",
        help="Which face of several a photo is about (default: centre; largest for rof, rmfrd "
        "and folder).",
        rich_help_panel=_DATA,
    ),
]
Whole = Annotated[
    WholeImage,
    typer.Option(
        "--whole-image",
        help="Take a photo as a face crop: never, when no face is detected, or always.",
        rich_help_panel=_DATA,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Where features and rankings are kept, so that a run can go on (default: in the "
        "user's cache folder).",
        metavar="FOLDER",
        rich_help_panel=_DATA,
    ),
]
Queries = Annotated[
    list[str] | None,
    typer.Option(
        "--query",
        "-q",
        help="What queries look like: clean, mask, sunglasses, crop, aligned-crop, ..., or a "
        "condition of the data set (masked, profile); may be repeated.",
        metavar="NAME",
    ),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help="Face network; may be repeated.", metavar="NAME"),
]
Weightings = Annotated[
    list[str] | None,
    typer.Option(
        "--weighting",
        help="Patch weights; may be repeated (default: the network's own; figures: apc).",
        metavar="NAME",
        rich_help_panel=_SCORING,
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        help="Share of the EMD in the score (default: the network's own; tables and figures: "
        "the paper's 0.7).",
        metavar="SHARE",
        rich_help_panel=_SCORING,
    ),
]
K = Annotated[
    int, typer.Option("--k", "-k", min=1, help="Faces re-ranked.", rich_help_panel=_SCORING)
]
Grid = Annotated[
    str | None,
    typer.Option(
        "--grid",
        help="Pool patches to this grid first, e.g. 4x4.",
        metavar="HxW",
        rich_help_panel=_SCORING,
    ),
]
Epsilon = Annotated[
    float,
    typer.Option("--epsilon", help="Regularisation of the transport.", rich_help_panel=_SCORING),
]
Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="published (leaks, for parity only), no-leak, one-mate or open-set.",
        metavar="NAME",
    ),
]
People = Annotated[
    int | None,
    typer.Option(
        "--people",
        min=1,
        help="Search for so many people only, and enroll only them.",
        rich_help_panel=_SUBSET,
    ),
]
Faces = Annotated[
    int | None,
    typer.Option(
        "--faces",
        min=1,
        help="Fill the gallery up to so many faces with others.",
        rich_help_panel=_SUBSET,
    ),
]
Pairs = Annotated[
    int | None,
    typer.Option("--pairs", min=2, help="Take so many pairs only.", rich_help_panel=_SUBSET),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Of subsets and covers.", rich_help_panel=_SUBSET)
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="Also write the report: .html, .md, .csv or .json; may be repeated.",
        metavar="FILE",
    ),
]
Pictures = Annotated[
    bool,
    typer.Option(
        "--pictures",
        help="Put photos of the data set into the HTML page; off, because pages get passed on.",
    ),
]
