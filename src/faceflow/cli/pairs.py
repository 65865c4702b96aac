"""The commands that compare two photos: verify and explain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceflow.cli.loading import load_analyzer
from faceflow.cli.options import (
    Alignment,
    Alpha,
    ChooseOne,
    Epsilon,
    Json,
    Network,
    Offline,
    OneFaceChoice,
    PatchGrid,
    PatchKind,
    Threads,
    Threshold,
    VisibleShare,
    Weighting,
    Whole,
    WholeImage,
)
from faceflow.cli.output import number, print_json, print_line, print_table, say
from faceflow.cli.scoring import Scoring

if TYPE_CHECKING:
    from faceflow.analyzer import Face, FaceAnalyzer

Photo = Annotated[Path, typer.Argument(help="A photo.", metavar="PHOTO")]


def verify(
    a: Photo,
    b: Photo,
    threshold: Threshold = None,
    alpha: Alpha = None,
    weighting: Weighting = None,
    epsilon: Epsilon = None,
    grid: PatchGrid = None,
    patches: PatchKind = None,
    visible_share: VisibleShare = None,
    face: OneFaceChoice = "largest",
    whole_image: Whole = "never",
    network: Network = None,
    alignment: Alignment = None,
    threads: Threads = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Compare the faces of two photos; with --threshold, say whether they show one person.

    Exits with 0 whatever the answer is.
    """
    from faceflow.matching.options import options_for
    from faceflow.matching.verification import verify as compare

    analyzer = load_analyzer(network, alignment=alignment, offline=offline, threads=threads)
    scoring = Scoring(
        alpha=alpha,
        weighting=weighting,
        epsilon=epsilon,
        grid=grid,
        patches=patches,
        visible_share=visible_share,
    )
    options = options_for(analyzer.digest, **scoring.changes())
    first, second = (_one_face(analyzer, photo, face, whole_image) for photo in (a, b))
    answer = compare(first.features, second.features, options, threshold=threshold)
    if as_json:
        print_json(
            {
                "a": str(a),
                "b": str(b),
                "same": answer.same,
                "threshold": answer.threshold,
                "score": answer.score,
                "cosine": answer.cosine,
                "emd": answer.emd,
                "visible_cosine": answer.visible_cosine,
                "alpha": options.alpha,
                "weighting": options.weighting,
                "network": analyzer.network.spec.name,
            }
        )
        return
    decision = {True: ("same person", "bold green"), False: ("not the same", "bold yellow")}
    print_table(
        ("decision", "score", "cosine", "visible cosine", "EMD"),
        [
            (
                ("-", "") if answer.same is None else decision[answer.same],
                number(answer.score),
                number(answer.cosine),
                number(answer.visible_cosine),
                number(answer.emd),
            )
        ],
        right=("score", "cosine", "visible cosine", "EMD"),
    )
    if answer.same is None:
        say("no threshold was given, so nothing is decided (--threshold)")


def explain(
    a: Annotated[Path, typer.Argument(help="The query.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="The photo to compare it with.", metavar="B")],
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
    lines: Annotated[
        bool, typer.Option("--lines", help="Also draw the strongest flows as lines.")
    ] = False,
    alpha: Alpha = None,
    weighting: Weighting = None,
    epsilon: Epsilon = None,
    grid: PatchGrid = None,
    patches: PatchKind = None,
    visible_share: VisibleShare = None,
    face: OneFaceChoice = "largest",
    whole_image: Whole = "never",
    network: Network = None,
    alignment: Alignment = None,
    threads: Threads = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Show which parts of one face were matched with which parts of another, and why the score.

    With --json the numbers go to stdout, and files are written only where --output says.
    """
    from faceflow.explain import (
        Caption,
        PageRow,
        WeightedPair,
        explain_pair,
        flow_picture,
        html_page,
        to_json,
        weight_sheet,
    )
    from faceflow.explain.drawing.picture import Part
    from faceflow.matching.options import options_for
    from faceflow.matching.score import prepare
    from faceflow.system.files import atomic_write

    targets = output or ([] if as_json or weights else [Path("explanation.png")])
    if weights is not None and weights.suffix.lower() != ".png":
        raise typer.BadParameter(f"{weights} must end in .png", param_hint="--weights")
    for target in targets:
        if target.suffix.lower() not in (".png", ".html", ".json"):
            raise typer.BadParameter(
                f"{target} must end in .png, .html or .json", param_hint="--output"
            )
    analyzer = load_analyzer(network, alignment=alignment, offline=offline, threads=threads)
    scoring = Scoring(
        alpha=alpha,
        weighting=weighting,
        epsilon=epsilon,
        grid=grid,
        patches=patches,
        visible_share=visible_share,
    )
    options = options_for(analyzer.digest, **scoring.changes())
    query, other = (_one_face(analyzer, photo, face, whole_image) for photo in (a, b))
    found = explain_pair(query.features, other.features, options)
    for target in targets:
        kind = target.suffix.lower()
        parts: tuple[Part, ...] = ("weights", "lines") if lines else ("weights",)
        with atomic_write(target) as file:
            if kind == ".png":
                caption = Caption(f"{a.name} and {b.name}")
                flow_picture(query.crop, other.crop, found, caption=caption, parts=parts).save(
                    file, "PNG"
                )
            elif kind == ".html":
                page = html_page(
                    query.crop,
                    [PageRow(b.name, found, 1, 1, other.crop, str(b))],
                    query=str(a),
                    network=analyzer.network.spec.name,
                )
                file.write(page.encode("utf-8"))
            else:
                file.write(json.dumps(to_json(found), allow_nan=False).encode("utf-8"))
    if weights is not None:
        # The network's own patches, and what they show where that is known.
        plain = replace(
            options,
            patches="raw",
            visible_share=0.0,
            weighting="uniform" if options.model is None else "uncovered",
        )
        left, right = (prepare(face.features, plain, flow=True) for face in (query, other))
        assert left.patches is not None
        assert right.patches is not None
        pair = WeightedPair(
            f"{a.name}, {b.name}", query.crop, left.patches, other.crop, right.patches
        )
        with atomic_write(weights) as file:
            weight_sheet([pair]).save(file, "PNG")
    if as_json:
        print_json({"a": str(a), "b": str(b)} | to_json(found), line=True)
        return
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
    for target in [*targets, *([] if weights is None else [weights])]:
        print_line(f"written: {target}")


def _one_face(
    analyzer: FaceAnalyzer, photo: Path, choice: ChooseOne, whole_image: WholeImage
) -> Face:
    return analyzer.analyze(photo, select=choice, whole_image=whole_image)[0]
