"""The ``identify`` command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    Place,
    QueryNetwork,
    Ranking,
    Spread,
    Threshold,
)
from faceflow.cli.output import plural, print_json, print_table, progress, say
from faceflow.cli.remote import Remote, gallery_name, question, refuse, searches
from faceflow.errors import FaceflowError

if TYPE_CHECKING:
    from faceflow.explain.report import Report
    from faceflow.results import FoundFace

_TOP = 5


def identify(
    photos: Annotated[
        list[Path],
        typer.Argument(help="Photos, or folders with photos.", metavar="PHOTO"),
    ],
    *,
    gallery: GalleryPath = DEFAULT_GALLERY,
    query_network: QueryNetwork = None,
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
    remote: Remote,
    spread: Spread,
    here: Here,
) -> None:
    """Find out who is in photos, among the people of a gallery.

    With --threshold a face is "identified" or "unknown"; without, people are only ranked. With
    --json there is one object per face, one per line, also for photos that fail. Exits with 0
    when every photo could be read and showed a face; unknown people are no failure. With --server
    a service is asked, and its answers have its ids of the searches too.
    """
    from faceflow.faces.images import expand

    answers: list[Answer] = []
    errors: list[FaceflowError] = []
    pages = 0

    def told(answer: Answer) -> None:
        nonlocal pages
        pages += answer.report is not None
        if answer.error is not None:
            errors.append(answer.error)
        if here.as_json:
            print_json(answer.record(), line=True)
        else:
            answers.append(answer)

    def sources() -> list[Path]:
        # A folder that cannot be listed is an answer too, and the others are looked into.
        return expand(photos, unreadable=lambda place, error: told(Answer.of_failure(place, error)))

    if remote.server is None:
        require_gallery(gallery)
    asked = _Question(
        sources(), gallery, threshold, top or _TOP, explain, scoring, which, query_network, spread
    )
    calibrated = _here(asked, told, here) if remote.server is None else _there(asked, told, remote)
    if not here.as_json:
        _show(answers, top or (_TOP if len(asked.photos) == 1 else 1), calibrated=calibrated)
    for error in errors:
        fail(sentence(error))
    if explain is not None and not here.as_json:
        say(f"{plural(pages, 'page')} with flow pictures written to {explain}")
    if errors:
        raise typer.Exit(code_of(errors))


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, wherever it is."""

    photos: Sequence[Path]
    gallery: Place
    threshold: float | None
    top: int
    explain: Path | None
    scoring: Ranking
    which: AnyFace
    query_network: str | None
    spread: Spread


def _here(asked: _Question, told: Callable[[Answer], None], here: Here) -> bool:
    """Ask this machine; whether the gallery has a calibrated threshold."""
    which, scoring = asked.which, asked.scoring
    with (
        open_identifier(
            asked.gallery,
            here,
            spread=asked.spread,
            readonly=True,
            query_network=asked.query_network,
            threshold=asked.threshold,
            min_quality=which.min_quality,
        ) as people,
        progress("identifying") as advance,
    ):
        options = people.options(**scoring.changes())
        found = people.identify_many(
            asked.photos,
            select=which.face,
            whole_image=which.whole_image,
            options=options,
            best_faces=scoring.best_faces,
        )
        write = None if asked.explain is None else _Reports(asked.explain, asked.top)
        advance(0, len(asked.photos))
        for done, (photo, faces) in enumerate(found, start=1):
            for answer in _answers(photo, faces, asked.top, write):
                told(answer)
            advance(done, len(asked.photos))
        calibration = people.gallery.calibration
        name = people.gallery.header.network_name
    if not here.as_json and options.model is not None and options.model.learned:
        used = "compared by what both show, with" if options.needs_model else "looked at with"
        say(
            f"faces are {used} the covers learned of {name} (faceflow covers show --network {name})"
        )
    return calibration is not None and calibration.threshold is not None


def _there(asked: _Question, told: Callable[[Answer], None], remote: Remote) -> bool:
    """Ask a service; whether its gallery has a calibrated threshold."""
    refuse("--explain", asked.explain)
    refuse("--query-network", asked.query_network)
    refuse("--cluster", asked.spread.cluster)
    options = question(asked.scoring, asked.threshold)
    options |= {"whole_image": asked.which.whole_image, "top": asked.top}
    if asked.which.min_quality is not None:
        options["min_quality"] = asked.which.min_quality
    name = gallery_name(asked.gallery)
    with remote.client() as client, progress("identifying") as advance:
        calibrated = client.gallery(name).threshold is not None
        advance(0, len(asked.photos))
        found = searches(client, name, asked.photos, face=asked.which.face, options=options)
        for done, (_, answers) in enumerate(found, start=1):
            for answer in answers:
                told(answer)
            advance(done, len(asked.photos))
    return calibrated


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
                "the calibrated threshold does not hold for other scoring options, for a student's "
                "queries, nor for covers learned since"
            )
        say(f"{why}, so people are ranked and nothing is decided (--threshold)")
