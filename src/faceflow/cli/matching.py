"""The commands that compare faces: identify, verify, explain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.answers import Answer
from faceflow.cli.failures import code_of, fail
from faceflow.cli.loading import load_analyzer, open_gallery
from faceflow.cli.options import (
    DEFAULT_GALLERY,
    Alpha,
    Choose,
    ChooseOne,
    Epsilon,
    FaceChoice,
    GalleryPath,
    Json,
    Network,
    Offline,
    OneFaceChoice,
    PatchGrid,
    Shortlist,
    Threads,
    Threshold,
    Weighting,
    Whole,
    WholeImage,
    parse_grid,
)
from faceflow.cli.output import (
    number,
    plural,
    print_json,
    print_line,
    print_table,
    progress,
    say,
)
from faceflow.errors import FaceflowError, InputError

if TYPE_CHECKING:
    from faceflow.analyzer import Face, FaceAnalyzer
    from faceflow.gallery import Gallery
    from faceflow.matching import MatchOptions
    from faceflow.networks import MatchDefaults

_TOP = 5

Photo = Annotated[Path, typer.Argument(help="A photo.", metavar="PHOTO")]


def identify(
    photos: Annotated[
        list[Path],
        typer.Argument(help="Photos, or folders with photos.", metavar="PHOTO..."),
    ],
    gallery: GalleryPath = DEFAULT_GALLERY,
    threshold: Threshold = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            min=1,
            help=f"How many people to show for a face [default: {_TOP}; 1 in a table of several "
            "photos].",
            metavar="PEOPLE",
        ),
    ] = None,
    k: Shortlist = None,
    alpha: Alpha = None,
    weighting: Weighting = None,
    epsilon: Epsilon = None,
    grid: PatchGrid = None,
    best_faces: Annotated[
        int,
        typer.Option(
            "--best-faces",
            min=1,
            help="Score a person by the mean of this many of their best faces.",
            metavar="FACES",
            rich_help_panel="Scoring",
        ),
    ] = 1,
    face: FaceChoice = "largest",
    all_faces: Annotated[
        bool,
        typer.Option(
            "--all-faces", help="The same as --face all.", rich_help_panel="Faces in a photo"
        ),
    ] = False,
    whole_image: Whole = "never",
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain",
            help="Write a flow picture and a page for each face to this folder.",
            metavar="FOLDER",
        ),
    ] = None,
    threads: Threads = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Find out who is in photos, among the people of a gallery.

    With --threshold a face is "identified" or "unknown"; without, people are only ranked. With
    --json there is one object per face, one per line, also for photos that fail. Exits with 0
    when every photo could be read and showed a face; unknown people are no failure.
    """
    from faceflow.networks import defaults_for

    sources = list(_expand(photos))
    with open_gallery(gallery) as opened:
        name = opened.header.network_name
        options = _options(
            defaults_for(name),
            opened.settings.get("match"),
            k=k,
            alpha=alpha,
            weighting=weighting,
            epsilon=epsilon,
            grid=grid,
        )
        analyzer = load_analyzer(name, offline=offline, threads=threads)
        opened.require_network(analyzer.network)
        answers = _identify(
            sources,
            opened,
            analyzer,
            options,
            threshold=threshold,
            best_faces=best_faces,
            select="all" if all_faces else face,
            whole_image=whole_image,
            explain=explain,
            top=top or _TOP,
        )
        errors: list[FaceflowError] = []
        shown: list[Answer] = []
        with progress("identifying") as advance:
            advance(0, len(sources))
            for done, photo_answers in enumerate(answers, start=1):
                for answer in photo_answers:
                    if answer.error is not None:
                        errors.append(answer.error)
                    if as_json:
                        print_json(answer.record(top or _TOP), line=True)
                shown += photo_answers
                advance(done, len(sources))
    if not as_json:
        _show(shown, top or (_TOP if len(sources) == 1 else 1))
        for error in errors:
            fail(error)
        if explain is not None:
            pages = sum(answer.report is not None for answer in shown)
            say(f"{plural(pages, 'page')} and flow pictures written to {explain}")
    if errors:
        raise typer.Exit(code_of(errors))


def _expand(photos: Sequence[Path]) -> Iterator[Path]:
    """Photos as they are, folders as the photos in them."""
    from faceflow.images import iter_images

    for photo in photos:
        if not photo.is_dir():
            yield photo
            continue
        found = iter_images(photo)
        if not found:
            raise InputError(f"There are no photos in {photo}", todo="give another folder")
        yield from found


def _options(
    defaults: MatchDefaults,
    calibrated: dict[str, Any] | None = None,
    *,
    k: int | None = None,
    alpha: float | None = None,
    weighting: str | None = None,
    epsilon: float | None = None,
    grid: str | None = None,
) -> MatchOptions:
    from faceflow.matching import MatchOptions
    from faceflow.transport import Sinkhorn

    return MatchOptions.resolve(
        defaults,
        calibrated,
        alpha=alpha,
        weighting=weighting,
        k=k,
        grid=parse_grid(grid),
        solver=None if epsilon is None else Sinkhorn(epsilon=epsilon),
    )


def _identify(
    sources: Sequence[Path],
    gallery: Gallery,
    analyzer: FaceAnalyzer,
    options: MatchOptions,
    *,
    threshold: float | None,
    best_faces: int,
    select: Choose,
    whole_image: WholeImage,
    explain: Path | None,
    top: int,
) -> Iterator[list[Answer]]:
    """The answers of each photo in turn: one per face, or one failure."""
    from faceflow.features import FaceFeatures
    from faceflow.identification import identify as search
    from faceflow.reports import write_report

    for source, found in analyzer.analyze_many(sources, select=select, whole_image=whole_image):
        if isinstance(found, FaceflowError):
            yield [Answer(source, error=found)]
            continue
        matches = search(
            FaceFeatures.concatenate([face.features for face in found]),
            gallery,
            k=options.k,
            alpha=options.alpha,
            weighting=options.weighting,
            grid=options.grid,
            threshold=threshold,
            best_faces=best_faces,
            solver=options.solver,
        )
        answers = []
        for place, (face, answer) in enumerate(zip(found, matches, strict=True), start=1):
            label = f"{source.stem}-face{place}" if len(found) > 1 else source.stem
            report = None
            if explain is not None:
                report = write_report(
                    explain, label, face, answer, gallery, options, top=top, title=str(source)
                )
            answers.append(Answer(source, place, len(found), face, answer, report))
        yield answers


def _show(answers: Sequence[Answer], top: int) -> None:
    rows = [row for answer in answers for row in answer.rows(top)]
    print_table(
        ("query", "decision", "person", "score", "cosine", "EMD", "rank"),
        rows,
        right=("score", "cosine", "EMD"),
    )
    if any(answer.matches and answer.matches.status == "ranked" for answer in answers):
        say("no threshold was given, so people are ranked and nothing is decided (--threshold)")


def verify(
    a: Photo,
    b: Photo,
    threshold: Threshold = None,
    alpha: Alpha = None,
    weighting: Weighting = None,
    epsilon: Epsilon = None,
    grid: PatchGrid = None,
    face: OneFaceChoice = "largest",
    whole_image: Whole = "never",
    network: Network = None,
    threads: Threads = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Compare the faces of two photos; with --threshold, say whether they show one person.

    Exits with 0 whatever the answer is.
    """
    from faceflow.verification import verify as compare

    analyzer = load_analyzer(network, offline=offline, threads=threads)
    options = _options(
        analyzer.network.spec.defaults,
        alpha=alpha,
        weighting=weighting,
        epsilon=epsilon,
        grid=grid,
    )
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
                "alpha": options.alpha,
                "weighting": options.weighting,
                "network": analyzer.network.spec.name,
            }
        )
        return
    decision = {True: ("same person", "bold green"), False: ("not the same", "bold yellow")}
    print_table(
        ("decision", "score", "cosine", "EMD"),
        [
            (
                ("-", "") if answer.same is None else decision[answer.same],
                number(answer.score),
                number(answer.cosine),
                number(answer.emd),
            )
        ],
        right=("score", "cosine", "EMD"),
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
            "[default: explanation.png].",
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
    face: OneFaceChoice = "largest",
    whole_image: Whole = "never",
    network: Network = None,
    threads: Threads = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Show which parts of one face were matched with which parts of another, and why the score.

    With --json the numbers go to stdout, and files are written only where --output says.
    """
    from faceflow.explain import Caption, PageRow, explain_pair, flow_picture, html_page, to_json
    from faceflow.explain.picture import Part
    from faceflow.weights import atomic_write

    targets = output or ([] if as_json else [Path("explanation.png")])
    for target in targets:
        if target.suffix.lower() not in (".png", ".html", ".json"):
            raise typer.BadParameter(
                f"{target} must end in .png, .html or .json", param_hint="--output"
            )
    analyzer = load_analyzer(network, offline=offline, threads=threads)
    options = _options(
        analyzer.network.spec.defaults,
        alpha=alpha,
        weighting=weighting,
        epsilon=epsilon,
        grid=grid,
    )
    query, other = (_one_face(analyzer, photo, face, whole_image) for photo in (a, b))
    found = explain_pair(
        options.on_grid(query.features),
        options.on_grid(other.features),
        weighting=options.weighting,
        alpha=options.alpha,
        solver=options.solver,
    )
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
    if as_json:
        print_json({"a": str(a), "b": str(b)} | to_json(found), line=True)
        return
    print_table(
        ("score", "cosine", "EMD", "alpha", "weights", "stays in place"),
        [
            (
                number(found.score),
                number(found.cosine),
                number(found.emd),
                number(found.alpha, 2),
                found.weighting,
                f"{100 * found.nearby_mass:.0f}%",
            )
        ],
        right=("score", "cosine", "EMD", "alpha", "stays in place"),
    )
    for target in targets:
        print_line(f"written: {target}")


def _one_face(
    analyzer: FaceAnalyzer, photo: Path, choice: ChooseOne, whole_image: WholeImage
) -> Face:
    return analyzer.analyze(photo, select=choice, whole_image=whole_image)[0]
