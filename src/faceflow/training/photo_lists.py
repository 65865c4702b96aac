"""Photos to train on, with the names of their people where folders or a table give them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from faceflow.errors import InputError
from faceflow.faces.images import iter_images
from faceflow.gallery.enrolment import Photo, photos_in_csv


def list_faces(sources: Iterable[Path], *, unnamed: bool = False) -> tuple[Photo, ...]:
    """The photos behind folders and CSV files.

    A photo that lies in no folder of its own below the one given shows somebody whom nobody
    named: it counts as a person of its own, called by its path.

    Args:
        sources: folders, or CSV files with the columns path and person.
        unnamed: take every photo for a person of its own.

    Raises:
        InputError: there are no photos, or a CSV file that is none.
        ImageError: a folder cannot be read.
    """
    found: list[Photo] = []
    for place in sources:
        if place.suffix.lower() == ".csv" and not place.is_dir():
            listed = photos_in_csv(place).photos
            root = place.parent
        else:
            root = place
            listed = tuple(Photo(path, _folder(path, root)) for path in iter_images(place))
        found += [
            Photo(one.path, _alone(one.path, root)) if unnamed or not one.person else one
            for one in listed
        ]
    if not found:
        raise InputError("There are no photos", todo="give a folder of faces")
    return tuple(found)


def _folder(path: Path, root: Path) -> str:
    below = path.relative_to(root).parts
    return below[0] if len(below) > 1 else ""


def _alone(path: Path, root: Path) -> str:
    """A name that no folder has, and that stays when all photos move elsewhere."""
    return f"./{path.relative_to(root) if path.is_relative_to(root) else path}"


def named(photos: Iterable[Photo]) -> dict[str, int]:
    """How many photos there are of each person whom somebody named."""
    count: dict[str, int] = {}
    for photo in photos:
        if not photo.person.startswith("./"):
            count[photo.person] = count.get(photo.person, 0) + 1
    return count
