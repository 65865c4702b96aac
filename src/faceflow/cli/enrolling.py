"""The ``enroll`` command."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceflow.cli.failures import code_of, sentence
from faceflow.cli.loading import open_identifier
from faceflow.cli.options import (
    DEFAULT_GALLERY,
    PEOPLE,
    GalleryPath,
    Here,
    Maker,
    OneFace,
    Person,
    Place,
    ReportTo,
    Spread,
    said,
)
from faceflow.cli.output import plural, print_json, print_line, progress, say
from faceflow.cli.remote import Remote, gallery_name, refuse
from faceflow.cli.remote import enroll as enroll_there

if TYPE_CHECKING:
    from faceflow.gallery.enrolment import EnrolmentReport

_LISTED = 20  # skipped photos shown one by one; --json has them all


def enroll(
    photos: Annotated[
        list[Path], said(PEOPLE, ", or a tar file. Or photos of one person (with --person)")
    ],
    *,
    gallery: GalleryPath = DEFAULT_GALLERY,
    person: Person = None,
    codec: Annotated[
        Literal["int8", "float32", "none"],
        typer.Option(
            "--codec",
            help="How a new gallery keeps patches; none: embeddings alone, without re-ranking.",
        ),
    ] = "int8",
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails/--no-thumbnails", help="Whether a new gallery keeps small face pictures."
        ),
    ] = True,
    report_to: ReportTo = None,
    which: OneFace,
    maker: Maker,
    remote: Remote,
    spread: Spread,
    here: Here,
) -> None:
    """Add people's photos to a gallery, making it if there is none.

    Photos that are in the gallery already are skipped by their content, so the same command
    can be run again after adding photos or after an interruption. Exits with 0 when at least
    one photo is in the gallery; photos left out are listed with the reason. With --server they
    are sent to a service's gallery, which must be there.
    """
    from faceflow.gallery.outcome_files import outcome_file

    if remote.server is not None:
        refuse("--report", None if report_to is None else True)
        refuse("--cluster", spread.cluster)
        report = _there(photos, person, gallery, codec, thumbnails, which, maker, remote)
        finish(report, gallery, here.as_json)
        return
    with (
        nullcontext() if report_to is None else outcome_file(report_to) as tell,
        open_identifier(
            gallery,
            here,
            spread=spread,
            network=maker.network,
            detector=maker.detector,
            codec=codec,
            thumbnails=thumbnails,
        ) as people,
        progress("enrolling") as advance,
    ):
        report = people.enroll(
            photos,
            person,
            select=which.face,
            whole_image=which.whole_image,
            progress=advance,
            tell=tell,
        )
    finish(report, gallery, here.as_json)


def _there(
    photos: list[Path],
    person: str | None,
    gallery: Place,
    codec: str,
    thumbnails: bool,
    which: OneFace,
    maker: Maker,
    remote: Remote,
) -> EnrolmentReport:
    from faceflow.gallery.enrolment import list_photos

    refuse("--network", maker.network)
    refuse("--detector", maker.detector)
    refuse("--face", None if which.face == "largest" else True)
    refuse("--whole-image", None if which.whole_image == "never" else True)
    refuse("--codec", None if codec == "int8" else True)
    refuse("--no-thumbnails", None if thumbnails else True)
    name, listing = gallery_name(gallery), list_photos(photos, person=person)
    with remote.client() as client, progress("enrolling") as advance:
        return enroll_there(client, name, listing, advance)


def finish(report: EnrolmentReport, gallery: Place, as_json: bool) -> None:
    """Say what an enrolment did, and exit with an error if it left no photo in the gallery."""
    if as_json:
        print_json({"gallery": str(gallery)} | _record(report))
    else:
        _show(report, gallery)
    if not report.added and not report.duplicates:
        raise typer.Exit(code_of([skip.error for skip in report.skipped]))


def _show(report: EnrolmentReport, gallery: Place) -> None:
    for skip in report.skipped[:_LISTED]:
        say(sentence(skip.error), label="left out", style="yellow")
    if len(report.skipped) > _LISTED:
        say(f"... and {len(report.skipped) - _LISTED:,} more; --json lists them all")
    for crowd in report.crowds[:_LISTED]:
        say(
            f"{crowd.path} shows {crowd.faces or 'several'} faces; the {crowd.taken} one was "
            f"taken for {crowd.person}",
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
                "faces": crowd.faces or None,
                "taken": crowd.taken,
            }
            for crowd in report.crowds
        ],
        "shared": [
            {"photo": shared.source, "person": shared.person, "others": list(shared.others)}
            for shared in report.shared
        ],
    }
