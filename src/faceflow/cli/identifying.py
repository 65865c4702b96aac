"""The ``identify`` command."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from faceflow.cli.answers import Answer
from faceflow.cli.failures import code_of, fail, sentence
from faceflow.cli.loading import load_analyzer, open_gallery
from faceflow.cli.options import (
    DEFAULT_GALLERY,
    Alpha,
    Choose,
    Epsilon,
    FaceChoice,
    GalleryPath,
    Json,
    Offline,
    PatchGrid,
    PatchKind,
    Shortlist,
    Threads,
    Threshold,
    VisibleShare,
    Weighting,
    Whole,
    WholeImage,
)
from faceflow.cli.output import (
    plural,
    print_json,
    print_table,
    progress,
    say,
)
from faceflow.cli.scoring import Scoring
from faceflow.errors import FaceflowError, InputError

if TYPE_CHECKING:
    from faceflow.analyzer import FaceAnalyzer
    from faceflow.gallery import Gallery
    from faceflow.matching.options import MatchOptions
    from faceflow.quality import Band

_TOP = 5


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
            help=f"How many people to show for a face (default: {_TOP}; 1 in a table of several "
            "photos).",
            metavar="PEOPLE",
        ),
    ] = None,
    k: Shortlist = None,
    alpha: Alpha = None,
    weighting: Weighting = None,
    epsilon: Epsilon = None,
    grid: PatchGrid = None,
    patches: PatchKind = None,
    visible_share: VisibleShare = None,
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
    min_quality: Annotated[
        Literal["good", "fair", "poor"],
        typer.Option(
            "--min-quality",
            help='Say "unsure" of faces worse than this: too covered, small, blurred or turned. '
            '"poor" answers always.',
            rich_help_panel="Faces in a photo",
        ),
    ] = "poor",
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
    sources = list(_expand(photos))
    with open_gallery(gallery) as opened:
        name = opened.header.network_name
        analyzer = load_analyzer(
            name, alignment=opened.header.alignment, offline=offline, threads=threads
        )
        opened.require_network(analyzer.network)
        scoring = Scoring(
            k=k,
            alpha=alpha,
            weighting=weighting,
            epsilon=epsilon,
            grid=grid,
            patches=patches,
            visible_share=visible_share,
        )
        calibration = opened.calibration
        calibrated = calibration is not None and calibration.threshold is not None
        options = opened.options(**scoring.changes())
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
            min_quality=min_quality,
        )
        errors: list[FaceflowError] = []
        shown: list[Answer] = []
        pages = 0
        with progress("identifying") as advance:
            advance(0, len(sources))
            for done, photo_answers in enumerate(answers, start=1):
                for answer in photo_answers:
                    pages += answer.report is not None
                    if answer.error is not None:
                        errors.append(answer.error)
                    if as_json:
                        print_json(answer.record(), line=True)
                    else:
                        shown.append(answer)
                advance(done, len(sources))
    if not as_json and options.model is not None and options.model.learned:
        used = "compared by what both show, with" if options.needs_model else "looked at with"
        say(
            f"faces are {used} the covers learned of {name} (faceflow covers show --network {name})"
        )
    if not as_json:
        _show(shown, top or (_TOP if len(sources) == 1 else 1), calibrated=calibrated)
    for error in errors:
        fail(sentence(error))
    if explain is not None and not as_json:
        say(f"{plural(pages, 'page')} with flow pictures written to {explain}")
    if errors:
        raise typer.Exit(code_of(errors))


def _expand(photos: Sequence[Path]) -> Iterator[Path]:
    """Photos as they are, folders as the photos in them."""
    from faceflow.faces.images import iter_images

    for photo in photos:
        if not photo.is_dir():
            yield photo
            continue
        found = iter_images(photo)
        if not found:
            raise InputError(f"There are no photos in {photo}", todo="give another folder")
        yield from found


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
    min_quality: Band,
) -> Iterator[list[Answer]]:
    """The answers of each photo in turn: one per face, or one failure."""
    from faceflow.explain.report import write_report
    from faceflow.features import FaceFeatures
    from faceflow.matching.abstaining import abstain, quality_of
    from faceflow.matching.identification import identify as search

    taken: set[str] = set()
    for source, found in analyzer.analyze_many(sources, select=select, whole_image=whole_image):
        if isinstance(found, FaceflowError):
            yield [Answer.of_failure(source, found)]
            continue
        matches = search(
            FaceFeatures.concatenate([face.features for face in found]),
            gallery,
            options,
            threshold=threshold,
            best_faces=best_faces,
        )
        answers = []
        for place, (face, matched) in enumerate(zip(found, matches, strict=True), start=1):
            quality = quality_of(face, options.model)
            answer = abstain(matched, quality, min_quality)
            report = None
            if explain is not None:
                label = _label(source, place if len(found) > 1 else 0, taken)
                report = write_report(
                    explain, label, face, answer, gallery, options, top=top, title=str(source)
                )
            answers.append(
                Answer.of_face(
                    source, (place, len(found)), face, answer, top, report, quality, options
                )
            )
        yield answers


def _label(source: Path, place: int, taken: set[str]) -> str:
    """A name for a face's files that no other photo of this run has."""
    stem = f"{source.stem}-face{place}" if place else source.stem
    names = (stem if n == 1 else f"{stem}-{n}" for n in itertools.count(1))
    # Some file systems take upper and lower case for the same.
    label = next(name for name in names if name.casefold() not in taken)
    taken.add(label.casefold())
    return label


def _show(answers: Sequence[Answer], top: int, *, calibrated: bool) -> None:
    rows = [row for answer in answers for row in answer.rows(top)]
    print_table(
        ("query", "decision", "person", "score", "cosine", "visible cosine", "EMD", "stage 1 -> 2"),
        rows,
        right=("score", "cosine", "visible cosine", "EMD"),
    )
    for answer in answers:
        if answer.quality is not None and answer.quality.flaws:
            where = f"{answer.query} #{answer.place}" if answer.of > 1 else str(answer.query)
            weak = {"poor": "do not trust the score", "fair": "trust the score less"}
            band = answer.quality.band
            say(
                f"{where}: the face is {', '.join(answer.quality.flaws)}; {weak[band]}",
                label="quality",
                style="yellow",
            )
    if any(answer.status == "ranked" for answer in answers):
        why = "no threshold was given"
        if calibrated:
            why = (
                "the calibrated threshold does not hold for other scoring options, nor for covers "
                "learned since"
            )
        say(f"{why}, so people are ranked and nothing is decided (--threshold)")
