"""``faceflow cluster bulk-enroll``: very many photos, by many processes or machines."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Literal

import typer

from faceflow.cli.enrolling import finish
from faceflow.cli.options import (
    CLUSTER,
    DEFAULT_GALLERY,
    DEVICE,
    GalleryPath,
    Json,
    Maker,
    Offline,
    OneFace,
    Person,
    ReportTo,
    said,
)
from faceflow.cli.output import progress


def enroll_in_bulk(
    photos: Annotated[
        list[str],
        typer.Argument(
            help="Folders with one folder of photos per person, CSV files with the columns path "
            "and person, tar files; paths, or addresses such as s3://bucket/people.",
            metavar="PHOTOS",
        ),
    ],
    *,
    gallery: GalleryPath = DEFAULT_GALLERY,
    person: Person = None,
    cluster: Annotated[
        str, said(CLUSTER, " (default: local, one of its own, gone afterwards)")
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Processes at most (default: one for each processor, or GPU, of the cluster).",
            metavar="NUMBER",
        ),
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        said(DEVICE, "; for workers cpu, or cuda, which they take where the cluster has GPUs"),
    ] = None,
    report_to: ReportTo = None,
    which: OneFace,
    maker: Maker,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Add very many photos to a gallery, by many processes or machines, on Ray.

    The gallery becomes what `faceflow enroll` would make of it, to the last bit. After an
    interruption run it again: photos that are in the gallery already are skipped by their content.
    """
    from faceflow.cluster import bulk
    from faceflow.gallery.outcome_files import outcome_file

    with (
        nullcontext() if report_to is None else outcome_file(report_to) as tell,
        progress("enrolling") as advance,
    ):
        report = bulk.enroll(
            photos,
            gallery,
            network=maker.network,
            detector=maker.detector,
            person=person,
            select=which.face,
            whole_image=which.whole_image,
            address=cluster,
            workers=bulk.Workers(workers, device),
            offline=offline,
            progress=advance,
            tell=tell,
        )
    finish(report, gallery, as_json)
