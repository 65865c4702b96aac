"""The ``enroll`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceflow.cli.failures import code_of, sentence
from faceflow.cli.loading import load_analyzer
from faceflow.cli.options import (
    DEFAULT_GALLERY,
    Alignment,
    GalleryPath,
    Json,
    Network,
    Offline,
    OneFaceChoice,
    Threads,
    Whole,
)
from faceflow.cli.output import plural, print_json, print_line, progress, say

if TYPE_CHECKING:
    from faceflow.gallery.enrolment import EnrolmentReport

_LISTED = 20  # skipped photos shown one by one; --json has them all


def enroll(
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="A folder with one folder of photos per person, a CSV file with the columns "
            "path and person, or photos (with --person).",
            metavar="PHOTOS...",
        ),
    ],
    gallery: GalleryPath = DEFAULT_GALLERY,
    person: Annotated[
        str | None, typer.Option("--person", "-p", help="Whose photos these are.", metavar="NAME")
    ] = None,
    face: OneFaceChoice = "largest",
    whole_image: Whole = "never",
    network: Network = None,
    alignment: Alignment = None,
    codec: Annotated[
        Literal["int8", "float32"],
        typer.Option("--codec", help="How a new gallery keeps patches."),
    ] = "int8",
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails/--no-thumbnails", help="Whether a new gallery keeps small face pictures."
        ),
    ] = True,
    threads: Threads = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Add people's photos to a gallery, making it if there is none.

    Photos that are in the gallery already are skipped by their content, so the same command
    can be run again after adding photos or after an interruption. Exits with 0 when at least
    one photo is in the gallery; photos left out are listed with the reason.
    """
    from faceflow.gallery import Gallery
    from faceflow.gallery.enrolment import enroll_photos, list_photos

    listing = list_photos(photos, person=person)
    if gallery.exists():
        # An existing gallery says what it needs; no option has to repeat it.
        with Gallery.open(gallery, readonly=True) as known:
            network = network or known.header.network_name
            alignment = alignment or known.header.alignment
            known.require_alignment(alignment)
    analyzer = load_analyzer(network, alignment=alignment, offline=offline, threads=threads)
    with (
        Gallery.open_or_create(
            gallery,
            analyzer.network,
            codec=codec,
            thumbnails=thumbnails,
            alignment=analyzer.alignment,
        ) as opened,
        progress("enrolling") as advance,
    ):
        report = enroll_photos(
            listing,
            opened,
            analyzer,
            select=face,
            whole_image=whole_image,
            progress=advance,
        )
    if as_json:
        print_json({"gallery": str(gallery)} | _record(report))
    else:
        _show(report, gallery)
    if not report.added and not report.duplicates:
        raise typer.Exit(code_of([skip.error for skip in report.skipped]))


def _show(report: EnrolmentReport, gallery: Path) -> None:
    for skip in report.skipped[:_LISTED]:
        say(sentence(skip.error), label="left out", style="yellow")
    if len(report.skipped) > _LISTED:
        say(f"... and {len(report.skipped) - _LISTED:,} more; --json lists them all")
    for crowd in report.crowds[:_LISTED]:
        say(
            f"{crowd.path} shows {crowd.faces} faces; the {crowd.taken} one was taken for "
            f"{crowd.person}",
            label="note",
            style="cyan",
        )
    if len(report.crowds) > _LISTED:
        say(f"... and {len(report.crowds) - _LISTED:,} more photos with several faces")
    for shared in report.shared[:_LISTED]:
        say(
            f"{shared.source} is enrolled for {shared.person} and for {', '.join(shared.others)}",
            label="note",
            style="cyan",
        )
    parts = [f"{plural(report.added, 'face')} added to {gallery}"]
    if report.duplicates:
        parts.append(f"{plural(report.duplicates, 'photo')} already there")
    if report.skipped:
        parts.append(f"{plural(len(report.skipped), 'photo')} left out")
    print_line(f"{plural(report.photos, 'photo')}: {', '.join(parts)}")


def _record(report: EnrolmentReport) -> dict[str, Any]:
    return {
        "photos": report.photos,
        "added": report.added,
        "duplicates": report.duplicates,
        "skipped": [
            {
                "photo": str(skip.path),
                "person": skip.person,
                "reason": skip.reason,
                "error": sentence(skip.error),
            }
            for skip in report.skipped
        ],
        "several_faces": [
            {
                "photo": str(crowd.path),
                "person": crowd.person,
                "faces": crowd.faces,
                "taken": crowd.taken,
            }
            for crowd in report.crowds
        ],
        "shared": [
            {"photo": shared.source, "person": shared.person, "others": list(shared.others)}
            for shared in report.shared
        ],
    }
