"""The groups of options that the ``evaluate`` commands share, and what they turn into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.options import (
    FACE,
    FACES,
    Cache,
    ChooseOne,
    Networks,
    Patches,
    Seed,
    Shortlist,
    Weightings,
    WholeImage,
    said,
)

if TYPE_CHECKING:
    from faceflow.evaluation.laboratory import DataSource
    from faceflow.matching.options import Changes

_DATA = "Data"
_SUBSET = "Subset"

PROTOCOL = typer.Option(
    "--protocol", help="published (leaks, for parity only), no-leak, one-mate or open-set.",
    metavar="NAME",
)  # fmt: skip
Protocol = Annotated[str, PROTOCOL]
Pairs = Annotated[
    int | None,
    typer.Option(
        "--pairs", min=2, help="Take so many pairs only.", metavar="NUMBER", rich_help_panel=_SUBSET
    ),
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


@dataclass(frozen=True, slots=True)
class Data:
    """Which photos are measured on, and which face each is about."""

    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="A data set and its folder; may be repeated. Names: folder, lfw, calfw, cplfw, "
            "agedb, cfp, talfw, mlfw, rof, rmfrd, bin.",
            metavar="NAME=PATH",
            rich_help_panel=_DATA,
        ),
    ] = None
    data_option: Annotated[
        list[str] | None,
        typer.Option(
            "--data-option",
            help="An option of a reader, e.g. lfw.pairs=pairs.txt; may be repeated.",
            metavar="NAME.OPTION=VALUE",
            rich_help_panel=_DATA,
        ),
    ] = None
    face: Annotated[
        ChooseOne | None, said(FACE, " (default: centre; largest for rof, rmfrd and folder)")
    ] = None
    whole_image: WholeImage = "never"
    cache: Cache = None

    def sources(self) -> dict[str, DataSource]:
        """``NAME=PATH`` and ``NAME.OPTION=VALUE`` as data sources.

        Raises:
            typer.BadParameter: a text that is neither, or an option of a set that is not named.
        """
        from faceflow.evaluation.laboratory import DataSource

        options: dict[str, dict[str, Any]] = {}
        for text in self.data_option or ():
            place, equals, value = text.partition("=")
            name, dot, option = place.partition(".")
            if not (equals and dot and name and option and value):
                raise typer.BadParameter(
                    f"{text!r} is not NAME.OPTION=VALUE", param_hint="--data-option"
                )
            paths = option in ("pairs", "listing", "searched")
            options.setdefault(name, {})[option] = Path(value) if paths else value
        sources = {}
        for text in self.data or ():
            name, equals, path = text.partition("=")
            if not (equals and name and path):
                raise typer.BadParameter(f"{text!r} is not NAME=PATH", param_hint="--data")
            sources[name] = DataSource(Path(path), options.pop(name, {}))
        if options:
            raise typer.BadParameter(
                f"there is no --data {next(iter(options))}=PATH", param_hint="--data-option"
            )
        return sources


@dataclass(frozen=True, slots=True)
class Asked:
    """What is varied: each network with each weighting on each kind of query."""

    query: Annotated[
        list[str] | None,
        typer.Option(
            "--query",
            "-q",
            help="What queries look like: clean, mask, sunglasses, crop, aligned-crop, ..., or a "
            "condition of the data set (masked, profile); may be repeated.",
            metavar="NAME",
        ),
    ] = None
    network: Networks = None
    weighting: Weightings = None


@dataclass(frozen=True, slots=True)
class Depth(Patches):
    """How two faces are compared, and how many of them."""

    k: Shortlist = None

    def changes(self) -> Changes:
        """As for :class:`Patches`."""
        found = Patches.changes(self)
        return found if self.k is None else {**found, "k": self.k}


@dataclass(frozen=True, slots=True)
class Subset:
    """How much of a data set is taken."""

    people: Annotated[
        int | None,
        typer.Option(
            "--people",
            min=1,
            help="Search for so many people only, and enroll only them.",
            metavar="NUMBER",
            rich_help_panel=_SUBSET,
        ),
    ] = None
    faces: Annotated[
        int | None,
        said(FACES, "; it is filled up with others", min=1, rich_help_panel=_SUBSET),
    ] = None
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries",
            min=1,
            help="Search with a random sample of so many queries, everybody enrolled.",
            metavar="NUMBER",
            rich_help_panel=_SUBSET,
        ),
    ] = None
    seed: Seed = 0
