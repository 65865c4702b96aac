"""Commands that move a whole gallery: export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceflow.cli.loading import open_gallery
from faceflow.cli.options import (
    DEFAULT_GALLERY,
    DETECTOR,
    NETWORK,
    Force,
    GalleryPath,
    Json,
    Place,
    said,
)
from faceflow.cli.output import plural, print_json, print_line
from faceflow.errors import InputError

_CLAIM = "Embeddings of other programs"


def export(
    target: Annotated[
        Path,
        typer.Argument(
            help="What to make: a folder, a .parquet file or a .lance folder.", metavar="TARGET"
        ),
    ],
    patches: Annotated[
        bool,
        typer.Option("--with-patches", help="Add patches to a table; a folder has them."),
    ] = False,
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--with-thumbnails",
            help="Add small face pictures to a table; a folder has them.",
        ),
    ] = False,
    force: Force = False,
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: Json = False,
) -> None:
    """Write a gallery for other programs or computers.

    A folder holds everything, as safetensors and JSON. A Parquet file or Lance folder is a table
    with a row a face: records and embeddings, and what is asked for. Whoever is removed from the
    gallery later stays in its exports.
    """
    with open_gallery(gallery) as opened:
        place = opened.export(target, overwrite=force, patches=patches, thumbnails=thumbnails)
        stats = opened.stats()
    if as_json:
        print_json(
            {
                "gallery": str(gallery),
                "target": str(place),
                "people": stats.people,
                "faces": stats.faces,
            }
        )
        return
    print_line(
        f"exported {plural(stats.faces, 'face')} of "
        f"{plural(stats.people, 'person', 'people')} to {place}"
    )


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="What export made; or embeddings: an .npy file, or a DeepFace .pkl.",
            metavar="SOURCE",
        ),
    ],
    network: Annotated[
        str | None,
        said(NETWORK, "; here the one that made the embeddings", rich_help_panel=_CLAIM),
    ] = None,
    detector: Annotated[
        str | None,
        said(DETECTOR, "; here the one that aligned the faces", rich_help_panel=_CLAIM),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(
            "--names",
            help="For an .npy file: a CSV file with the column person, and path and sha256 if "
            "known, a line a face.",
            metavar="FILE",
            rich_help_panel=_CLAIM,
        ),
    ] = None,
    patches: Annotated[
        Path | None,
        typer.Option(
            "--maps",
            help="For an .npy file: another one with (faces, channels, height, width) raw feature "
            "maps. Without it people are ranked by embeddings alone.",
            metavar="FILE",
            rich_help_panel=_CLAIM,
        ),
    ] = None,
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: Json = False,
) -> None:
    """Make a gallery from an export, or of embeddings; it must not exist yet."""
    from faceflow.gallery import Gallery

    duplicates = 0
    if (network, detector, people, patches) == (None, None, None, None):
        Gallery.import_from(source, gallery).close()
    else:
        duplicates = _import_embeddings(source, gallery, network, detector, people, patches)
    with open_gallery(gallery) as opened:
        stats = opened.stats()
    if as_json:
        print_json(
            {
                "gallery": str(gallery),
                "source": str(source),
                "people": stats.people,
                "faces": stats.faces,
                "duplicates": duplicates,
            }
        )
        return
    twice = f", {plural(duplicates, 'photo')} twice" if duplicates else ""
    print_line(
        f"imported {plural(stats.faces, 'face')} of "
        f"{plural(stats.people, 'person', 'people')} into {gallery}{twice}"
    )
    if stats.header.codec == "none":
        print_line("it keeps no patches: people are ranked by embeddings alone")


def _import_embeddings(
    source: Path,
    gallery: Place,
    network: str | None,
    detector: str | None,
    people: Path | None,
    patches: Path | None,
) -> int:
    """How many photos came twice."""
    from faceflow.gallery import Gallery

    if network is None or detector is None:
        raise InputError(
            f"it is not said what made the embeddings of {source}",
            why="embeddings of two networks, or of faces aligned in two ways, cannot be compared",
            todo="name both, --network and --detector; `faceflow models list` shows those known "
            "here",
        )
    return Gallery.import_embeddings(
        source, gallery, network=network, detector=detector, people=people, patches=patches
    ).duplicates
