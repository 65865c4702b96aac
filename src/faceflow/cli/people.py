"""Commands that look into a gallery and change who is in it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from faceflow.cli.loading import open_gallery
from faceflow.cli.options import DEFAULT_GALLERY, GalleryPath, Json
from faceflow.cli.output import number, plural, print_json, print_line, print_table, say, size
from faceflow.errors import InputError


def people(gallery: GalleryPath = DEFAULT_GALLERY, as_json: Json = False) -> None:
    """List the people in a gallery with their number of faces."""
    with open_gallery(gallery) as opened:
        found, stats = opened.people(), opened.stats()
    if as_json:
        print_json(
            {
                "gallery": str(gallery),
                "network": stats.header.network_name,
                "people": [{"person": who.name, "faces": who.faces} for who in found],
                "faces": stats.faces,
                "bytes": stats.file_bytes,
            }
        )
        return
    print_table(
        ("person", "faces"), [(who.name, f"{who.faces:,}") for who in found], right=("faces",)
    )
    say(
        f"{plural(stats.people, 'person', 'people')}, {plural(stats.faces, 'face')}, "
        f"{size(stats.file_bytes)}, {stats.header.network_name}"
    )


def faces(
    person: Annotated[str | None, typer.Argument(help="Only this person's faces.")] = None,
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: Json = False,
) -> None:
    """List the enrolled faces: number, person, photo, detection score, date."""
    with open_gallery(gallery) as opened:
        records = opened.faces(person)
    if as_json:
        print_json(
            {
                "gallery": str(gallery),
                "faces": [
                    {
                        "face_id": record.face_id,
                        "person": record.person,
                        "source": record.source,
                        "content_hash": record.content_hash,
                        "box": record.box,
                        "detection_score": record.score,
                        "created": record.created.isoformat(),
                    }
                    for record in records
                ],
            }
        )
        return
    print_table(
        ("face", "person", "photo", "detection", "enrolled (UTC)"),
        [
            (
                str(record.face_id),
                record.person,
                record.source,
                number(record.score),
                f"{record.created:%Y-%m-%d %H:%M}",
            )
            for record in records
        ],
        right=("face", "detection"),
    )


def remove(
    names: Annotated[
        list[str] | None, typer.Argument(help="People to remove with all their faces.")
    ] = None,
    face: Annotated[
        list[int] | None,
        typer.Option("--face", help="Remove this face, see 'faceflow faces'; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: Json = False,
) -> None:
    """Remove people or single faces for good: the data is wiped from the gallery file.

    Names and features are overwritten in the file, not just marked as free. What a file
    system, an SSD or a backup keeps of former content is out of reach.
    """
    from faceflow.gallery import person_name

    people = list(dict.fromkeys(person_name(name) for name in names or []))
    face_ids = list(dict.fromkeys(face or []))
    if not people and not face_ids:
        raise typer.BadParameter("name a person, or a face with --face NUMBER")
    with open_gallery(gallery, readonly=False) as opened:
        # Look all of them up first: an unknown name must not leave half of the work done.
        doomed = [(name, len(opened.faces(name))) for name in people]
        records = [opened.record(number) for number in face_ids]
        records = [record for record in records if record.person not in people]
        what = [f"{name} with {plural(count, 'face')}" for name, count in doomed]
        what += [f"face {record.face_id} of {record.person}" for record in records]
        if not yes:
            _confirm(f"Remove {', '.join(what)} for good? The data is wiped from the file.")
        removed: list[dict[str, Any]] = []
        erased = True
        for record in records:
            change = opened.remove_face(record.face_id)
            erased &= change.erased
            removed.append({"person": record.person, "face_id": record.face_id, "faces": 1})
        for name, _ in doomed:
            change = opened.remove_person(name)
            erased &= change.erased
            removed.append({"person": name, "face_id": None, "faces": change.faces})
    if as_json:
        print_json({"gallery": str(gallery), "removed": removed, "erased": erased})
        return
    print_line(f"removed {', '.join(what)}; {_erased(erased)}")


def rename(
    old: Annotated[str, typer.Argument(help="The present name.")],
    new: Annotated[str, typer.Argument(help="The name from now on.")],
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: Json = False,
) -> None:
    """Give a person another name."""
    with open_gallery(gallery, readonly=False) as opened:
        change = opened.rename(old, new)
    if as_json:
        print_json({"gallery": str(gallery), "old": old, "new": new, "faces": change.faces})
        return
    print_line(f"renamed {old} to {new} ({plural(change.faces, 'face')})")


def merge(
    source: Annotated[str, typer.Argument(help="The name that goes.", metavar="FROM")],
    target: Annotated[str, typer.Argument(help="The name that stays.", metavar="INTO")],
    gallery: GalleryPath = DEFAULT_GALLERY,
    as_json: Json = False,
) -> None:
    """Make two people one: all faces of FROM move to INTO. It cannot be undone."""
    with open_gallery(gallery, readonly=False) as opened:
        change = opened.merge(source, target)
    if as_json:
        print_json(
            {
                "gallery": str(gallery),
                "from": source,
                "into": target,
                "faces": change.faces,
                "dropped": change.dropped,
            }
        )
        return
    dropped = f", {change.dropped} dropped as the same photo" if change.dropped else ""
    print_line(f"merged {source} into {target} ({plural(change.faces, 'face')} moved{dropped})")


def _confirm(question: str) -> None:
    """Ask on the terminal; without one nobody can answer.

    Raises:
        InputError: there is no terminal.
        typer.Exit: the answer is no.
    """
    if not sys.stdin.isatty():
        raise InputError(
            "Removing needs a yes, and there is no terminal to ask on", todo="add --yes to do it"
        )
    if not typer.confirm(question, err=True):
        say("nothing was removed")
        raise typer.Exit(1)


def _erased(erased: bool) -> str:
    if erased:
        return "the data is gone from the file; exports and copies made before still hold it"
    return (
        "another program is reading the gallery, so a copy stays in its log until that program "
        "is done; it is wiped at the next change or opening"
    )
