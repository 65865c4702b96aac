"""The ``identify`` command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceflow.cli.answers import Answer
from faceflow.cli.failures import code_of, fail, sentence
from faceflow.cli.loading import open_identifier, require_gallery
from faceflow.cli.options import (
    DEFAULT_GALLERY,
    AnyFace,
    GalleryPath,
    Here,
    Ranking,
    Spread,
    Threshold,
)
from faceflow.cli.output import plural, print_json, print_table, progress, say
from faceflow.errors import FaceflowError

if TYPE_CHECKING:
    from faceflow.explain.report import Report
    from faceflow.identifier import FoundFace

_TOP = 5


def identify(
    photos: Annotated[
        list[Path],
        typer.Argument(help="Photos, or folders with photos.", metavar="PHOTO"),
    ],
    *,
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
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain",
            help="Write a flow picture and a page for each face to this folder.",
            metavar="FOLDER",
        ),
    ] = None,
    scoring: Ranking,
    which: AnyFace,
    spread: Spread,
    here: Here,
) -> None:
    """Find out who is in photos, among the people of a gallery.

    With --threshold a face is "identified" or "unknown"; without, people are only ranked. With
    --json there is one object per face, one per line, also for photos that fail. Exits with 0
    when every photo could be read and showed a face; unknown people are no failure.
    """
    from faceflow.faces.images import expand

    answers: list[Answer] = []
    errors: list[FaceflowError] = []
    pages = 0
    require_gallery(gallery)

    def told(answer: Answer) -> None:
        nonlocal pages
        pages += answer.report is not None
        if answer.error is not None:
            errors.append(answer.error)
        if here.as_json:
            print_json(answer.record(), line=True)
        else:
            answers.append(answer)

    # A folder that cannot be listed is an answer too, and the others are looked into.
    sources = expand(photos, unreadable=lambda place, error: told(Answer.of_failure(place, error)))
    with (
        open_identifier(
            gallery,
            here,
            spread=spread,
            readonly=True,
            threshold=threshold,
            min_quality=which.min_quality,
        ) as people,
        progress("identifying") as advance,
    ):
        options = people.options(**scoring.changes())
        found = people.identify_many(
            sources,
            select=which.face,
            whole_image=which.whole_image,
            options=options,
            best_faces=scoring.best_faces,
        )
        write = None if explain is None else _Reports(explain, top or _TOP)
        advance(0, len(sources))
        for done, (photo, faces) in enumerate(found, start=1):
            for answer in _answers(photo, faces, top or _TOP, write):
                told(answer)
            advance(done, len(sources))
        calibration = people.gallery.calibration
        name = people.gallery.header.network_name
    if not here.as_json and options.model is not None and options.model.learned:
        used = "compared by what both show, with" if options.needs_model else "looked at with"
        say(
            f"faces are {used} the covers learned of {name} (faceflow covers show --network {name})"
        )
    if not here.as_json:
        calibrated = calibration is not None and calibration.threshold is not None
        _show(answers, top or (_TOP if len(sources) == 1 else 1), calibrated=calibrated)
    for error in errors:
        fail(sentence(error))
    if explain is not None and not here.as_json:
        say(f"{plural(pages, 'page')} with flow pictures written to {explain}")
    if errors:
        raise typer.Exit(code_of(errors))


class _Reports:
    """Writes the reasons for each face, under a name that no other face of this run has."""

    def __init__(self, folder: Path, top: int) -> None:
        self._folder = folder
        self._top = top
        self._taken: set[str] = set()

    def __call__(self, photo: Path, face: FoundFace, place: int) -> Report:
        from faceflow.explain.report import unused_name

        name = unused_name(f"{photo.stem}-face{place}" if place else photo.stem, self._taken)
        return face.explain(top=self._top).save_report(self._folder, name)


def _answers(
    photo: Path, faces: list[FoundFace] | FaceflowError, top: int, write: _Reports | None
) -> Iterator[Answer]:
    """The answers for a photo: one per face, or one failure."""
    if isinstance(faces, FaceflowError):
        yield Answer.of_failure(photo, faces)
        return
    for place, face in enumerate(faces, start=1):
        report = None if write is None else write(photo, face, place if len(faces) > 1 else 0)
        yield Answer.of_face(photo, (place, len(faces)), face, top, report)


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
    for warning in sorted({line for answer in answers for line in answer.warnings()}):
        say(warning, label="warning", style="bold yellow")
    if any(answer.status == "ranked" for answer in answers):
        why = "no threshold was given"
        if calibrated:
            why = (
                "the calibrated threshold does not hold for other scoring options, nor for covers "
                "learned since"
            )
        say(f"{why}, so people are ranked and nothing is decided (--threshold)")
