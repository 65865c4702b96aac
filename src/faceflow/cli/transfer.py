"""Commands that move a whole gallery: export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faceflow.cli.loading import open_gallery
from faceflow.cli.options import DEFAULT_GALLERY, Force, GalleryPath, Json
from faceflow.cli.output import plural, print_json, print_line


def export(
    folder: Annotated[Path, typer.Argument(help="The folder to make.", metavar="FOLDER")],
    force: Force = False,
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: Json = False,
) -> None:
    """Write a gallery as safetensors and JSON, for other programs or computers."""
    with open_gallery(gallery) as opened:
        place = opened.export(folder, overwrite=force)
        stats = opened.stats()
    if as_json:
        print_json(
            {
                "gallery": str(gallery),
                "folder": str(place),
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
    folder: Annotated[Path, typer.Argument(help="A folder made by export.", metavar="FOLDER")],
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: Json = False,
) -> None:
    """Make a gallery from an export; the gallery file must not exist yet."""
    from faceflow.gallery import Gallery

    with Gallery.import_from(folder, gallery) as opened:
        stats = opened.stats()
    if as_json:
        print_json(
            {
                "gallery": str(gallery),
                "folder": str(folder),
                "people": stats.people,
                "faces": stats.faces,
            }
        )
        return
    print_line(
        f"imported {plural(stats.faces, 'face')} of "
        f"{plural(stats.people, 'person', 'people')} into {gallery}"
    )
