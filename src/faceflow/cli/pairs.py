"""The commands that compare two photos: verify and explain."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceflow.cli.loading import open_identifier
from faceflow.cli.options import (
    DEFAULT_GALLERY,
    GALLERY,
    Here,
    Maker,
    OneFace,
    Place,
    QueryNetwork,
    Scoring,
    Threshold,
    said,
)
from faceflow.cli.output import number, print_json, print_line, print_table, say
from faceflow.cli.remote import Remote, gallery_name, question, refuse

if TYPE_CHECKING:
    from faceflow.results import ComparedFaces

Query = Annotated[Path, typer.Argument(help="The query.", metavar="A")]
Other = Annotated[Path, typer.Argument(help="The photo to compare it with.", metavar="B")]


def verify(
    a: Query,
    b: Other,
    *,
    query_network: QueryNetwork = None,
    threshold: Threshold = None,
    scoring: Scoring,
    which: OneFace,
    maker: Maker,
    gallery: Annotated[
        Place,
        said(GALLERY, ". Only with --server: the one there whose network and options compare"),
    ] = DEFAULT_GALLERY,
    remote: Remote,
    here: Here,
) -> None:
    """Compare the faces of two photos; with --threshold, say whether they show one person.

    Exits with 0 whatever the answer is.
    """
    if remote.server is None:
        compared = _compare(a, b, scoring, which, maker, query_network, here, threshold)
        pair = _Compared.here(compared)
    else:
        refuse("--query-network", query_network)
        pair = _there(a, b, gallery, threshold, scoring, which, maker, remote)
    if here.as_json:
        print_json({"a": str(a), "b": str(b)} | dataclasses.asdict(pair))
        return
    decision = {
        True: ("same person", "bold green"),
        False: ("not the same", "bold yellow"),
        None: ("-", ""),
    }
    print_table(
        ("decision", "score", "cosine", "visible cosine", "EMD"),
        [
            (
                decision[pair.same],
                number(pair.score),
                number(pair.cosine),
                number(pair.visible_cosine),
                number(pair.emd),
            )
        ],
        right=("score", "cosine", "visible cosine", "EMD"),
    )
    if pair.same is None:
        say("no threshold was given, so nothing is decided (--threshold)")


@dataclass(frozen=True, slots=True)
class _Compared:
    """How alike two faces are; the fields of ``verify --json``."""

    same: bool | None
    threshold: float | None
    score: float
    cosine: float
    emd: float | None
    visible_cosine: float | None
    alpha: float
    weighting: str
    network: str
    query_network: str | None = None

    @classmethod
    def here(cls, pair: ComparedFaces) -> _Compared:
        return cls(
            pair.same,
            pair.threshold,
            pair.score,
            pair.cosine,
            pair.emd,
            pair.visible_cosine,
            pair.options.alpha,
            pair.options.weighting,
            pair.network,
            pair.query_network,
        )


def _there(
    a: Path,
    b: Path,
    gallery: Place,
    threshold: float | None,
    scoring: Scoring,
    which: OneFace,
    maker: Maker,
    remote: Remote,
) -> _Compared:
    refuse("--network", maker.network)
    refuse("--detector", maker.detector)
    refuse("--face", None if which.face == "largest" else True)
    refuse("--whole-image", None if which.whole_image == "never" else True)
    options = question(scoring, threshold)
    with remote.client() as client:
        found = client.verify(gallery_name(gallery), a, b, **options)
    return _Compared(
        found.same,
        found.threshold,
        found.score,
        found.parts.cosine,
        found.parts.emd,
        found.parts.visible_cosine,
        found.options.alpha,
        found.options.weighting,
        found.network,
    )


def explain(
    a: Query,
    b: Other,
    *,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            help="Where to write it: .png, .html or .json; may be repeated "
            "(default: explanation.png).",
            metavar="FILE",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="Also draw what every weighting makes of the two faces, into this .png.",
            metavar="FILE",
        ),
    ] = None,
    query_network: QueryNetwork = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Also draw the strongest flows as lines.")
    ] = False,
    scoring: Scoring,
    which: OneFace,
    maker: Maker,
    here: Here,
) -> None:
    """Show which parts of one face were matched with which parts of another, and why the score.

    With --json the numbers go to stdout, and files are written only where --output says.
    """
    from faceflow.explain.report import check_ending
    from faceflow.system.files import atomic_write

    files = output or ([] if here.as_json or weights else [Path("explanation.png")])
    if weights is not None and weights.suffix.lower() != ".png":
        raise typer.BadParameter(f"{weights} must end in .png", param_hint="--weights")
    for file in files:
        check_ending(file)
    pair = _compare(a, b, scoring, which, maker, query_network, here)
    why = pair.explain()
    for file in files:
        why.save(file, lines=lines)
    if weights is not None:
        with atomic_write(weights) as sheet:
            pair.weight_sheet().save(sheet, "PNG")
        files = [*files, weights]
    if here.as_json:
        print_json(why.to_json(), line=True)
        return
    found = why.rows[0].explanation
    print_table(
        ("score", "cosine", "visible cosine", "EMD", "alpha", "weights", "stays in place"),
        [
            (
                number(found.score),
                number(found.cosine),
                number(found.visible_cosine),
                number(found.emd),
                number(found.alpha, 2),
                found.weighting,
                f"{100 * found.nearby_mass:.0f}%",
            )
        ],
        right=("score", "cosine", "visible cosine", "EMD", "alpha", "stays in place"),
    )
    for file in files:
        print_line(f"written: {file}")


def _compare(
    a: Path,
    b: Path,
    scoring: Scoring,
    which: OneFace,
    maker: Maker,
    query_network: str | None,
    here: Here,
    threshold: float | None = None,
) -> ComparedFaces:
    with open_identifier(
        None,
        here,
        network=maker.network,
        detector=maker.detector,
        query_network=query_network,
    ) as faces:
        return faces.verify(
            a,
            b,
            select=which.face,
            whole_image=which.whole_image,
            options=faces.options(**scoring.changes()),
            threshold=threshold,
        )
