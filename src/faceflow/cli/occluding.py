"""The ``occlude`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceflow.cli.failures import code_of, fail, sentence
from faceflow.cli.loading import chosen_device, ensure_models
from faceflow.cli.options import COVER, Here, Seed, said
from faceflow.cli.output import plural, print_json, print_line, print_table, progress, say
from faceflow.errors import FaceflowError

if TYPE_CHECKING:
    from faceflow.faces.detectors import Detector


def occlude(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A photo or a folder, and where to write; with --sheet, photos only.",
            metavar="IN OUT",
            show_default=False,
        ),
    ] = None,
    *,
    cover: Annotated[
        list[str] | None,
        said(COVER, "; may be repeated (default: mask; with --sheet one of each family)"),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            help="Write one picture instead: a row per photo, under each cover.",
            metavar="FILE.png",
        ),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the covers and stop.")] = False,
    seed: Seed = 0,
    here: Here,
) -> None:
    """Cover the largest face of photos: masks, sunglasses, crops, ...; or spoil photos.

    A folder's photos are written to the same places below OUT as NAME_COVER.jpg. The same photo
    and seed always give the same picture. Photos are never changed.
    """
    from faceflow.occlusion import alterations
    from faceflow.occlusion.alterations import check_alterations
    from faceflow.occlusion.photos import (
        SHEET_COVERS,
        Failed,
        cover_photos,
        cover_sheet,
        save_picture,
    )

    if show_list:
        _list(alterations(), here.as_json)
        return
    covers = tuple(dict.fromkeys(cover or (("mask",) if sheet is None else SHEET_COVERS)))
    check_alterations(covers)
    if sheet is not None:
        if not photos:
            raise typer.BadParameter("give the photos to show on the sheet")
        detector = _detector(covers, here)
        save_picture(cover_sheet(photos, covers, detector=detector, seed=seed), sheet)
        if here.as_json:
            print_json({"sheet": str(sheet), "photos": [str(p) for p in photos], "covers": covers})
        else:
            print_line(
                f"{plural(len(photos), 'photo')} under {plural(len(covers), 'cover')}: {sheet}"
            )
        return
    if photos is None or len(photos) != 2:
        raise typer.BadParameter("give a photo or folder, and where to write: IN OUT")
    detector = _detector(covers, here)
    written, errors = [], list[FaceflowError]()
    with progress("covering") as advance:
        results = cover_photos(photos[0], photos[1], covers, detector=detector, seed=seed)
        for done, result in enumerate(results, start=1):
            advance(done, None)
            if isinstance(result, Failed):
                errors.append(result.error)
            else:
                written.append(result)
    if here.as_json:
        print_json(
            {
                "written": [
                    {"photo": str(one.source), "cover": one.cover, "file": str(one.path)}
                    for one in written
                ],
                "errors": [sentence(error) for error in errors],
            }
        )
    else:
        print_line(f"{plural(len(written), 'picture')} written to {photos[1]}")
    for error in errors:
        fail(sentence(error))
    if errors:
        raise typer.Exit(code_of(errors))


def _detector(covers: tuple[str, ...], here: Here) -> Detector | None:
    """The default detector, unless no cover is drawn on a face."""
    from faceflow.faces import detectors
    from faceflow.occlusion import needs_landmarks

    if not any(map(needs_landmarks, covers)):
        return None
    ensure_models(detectors.DEFAULT, offline=here.offline)
    return detectors.load_detector(threads=here.threads, device=chosen_device(here))


def _list(names: tuple[str, ...], as_json: bool) -> None:
    from faceflow.occlusion import corruptions, needs_landmarks

    levels = {f"{kind}-{n}" for kind in corruptions() for n in range(1, 6)}
    if as_json:
        print_json([{"cover": n, "on_the_face": needs_landmarks(n)} for n in names])
        return
    rows = [
        (name, "on the face" if needs_landmarks(name) else "the whole photo")
        for name in names
        if name not in levels
    ]
    rows += [
        (f"{kind}-1 to {kind}-5", "the whole photo, worse and worse") for kind in corruptions()
    ]
    print_table(("cover", "changes"), rows)
    say("masks and sunglasses without a style choose one")
