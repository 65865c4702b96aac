"""What all readers share: finding the photos below a folder and saying what is missing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceflow.errors import InputError
from faceflow.evaluation.data.dataset import LeftOut, Photo
from faceflow.faces.images import SUFFIXES, iter_images
from faceflow.gallery.person_names import person_name
from faceflow.system.files import files_below, is_regular

WRONG_NAME = "the file name does not follow the data set's rule"
NOBODY = "its folder's name cannot be a person's"


@dataclass(frozen=True, slots=True)
class Origin:
    """A data set's title and the place to get it, for messages."""

    title: str
    where: str

    def folder(self, path: Path, nested: Sequence[str] = ()) -> Path:
        """The data set's folder: ``path``, or a folder of a known name inside it.

        Archives unpack into a folder of their own; ``nested`` holds the names that are known,
        in order of preference, and is followed as deep as it goes.

        Raises:
            InputError: there is no such folder; the message says where to get the data set.
        """
        if not path.is_dir():
            raise InputError(
                f"{self.title}: there is no folder {path}",
                todo=f"get the data set from {self.where} and unpack it there",
            )
        for name in nested:
            if (path / name).is_dir():
                return self.folder(path / name, nested)
        return path

    def file(self, path: Path) -> Path:
        """``path`` itself, when it is a file.

        Raises:
            InputError: it is not; the message says where to get it.
        """
        if not is_regular(path):
            raise InputError(
                f"{self.title}: there is no file {path}",
                todo=f"it belongs to the data set, see {self.where}",
            )
        return path


def photos_below(folder: Path, *, known: Collection[Path] = ()) -> tuple[list[Path], list[LeftOut]]:
    """Photos in a folder and its subfolders, sorted, and the files that are none.

    Hidden files and the ``known`` ones (lists the reader itself reads) are not mentioned.
    """
    kept: list[Path] = []
    left_out: list[LeftOut] = []
    for path in iter_images(folder):
        if not is_regular(path):
            left_out.append(LeftOut(path, "not a regular file"))
        elif path.stat().st_size:
            kept.append(path)
        else:
            left_out.append(LeftOut(path, "an empty file"))
    for path in sorted(files_below(folder)):
        if path.suffix.lower() not in SUFFIXES and path not in known:
            left_out.append(LeftOut(path, "not a photo"))
    return kept, left_out


def photos_by_person(
    folder: Path, family: str, *, condition: str = "", known: Collection[Path] = ()
) -> tuple[list[Photo], list[LeftOut]]:
    """Photos of a tree with one folder per person, however deep below it they lie.

    A source id is ``family`` and the path below ``folder`` without the ending.
    """
    photos: list[Photo] = []
    paths, left_out = photos_below(folder, known=known)
    for path in paths:
        below = path.relative_to(folder)
        if len(below.parts) < 2:
            left_out.append(LeftOut(path, "it lies in no person's folder"))
            continue
        source = f"{family}/{below.with_suffix('').as_posix()}"
        try:
            person = person_name(below.parts[0])
        except InputError:
            left_out.append(LeftOut(path, NOBODY))
            continue
        photos.append(Photo(path, person, source, condition))
    return photos, left_out


def photos_by_name(
    folder: Path, family: str, rule: re.Pattern[str], *, known: Collection[Path] = ()
) -> tuple[list[Photo], list[LeftOut]]:
    """Photos whose file names tell the person, wherever below ``folder`` they lie.

    Args:
        folder: where to look.
        family: prefix of the source ids.
        rule: matches a whole name without its ending; its group ``person`` is the name, and
            group ``source``, where it has one, names the photograph (else the whole name does).
        known: list files not to mention.
    """
    photos: list[Photo] = []
    paths, left_out = photos_below(folder, known=known)
    for path in paths:
        found = rule.fullmatch(path.stem)
        if found is None:
            left_out.append(LeftOut(path, WRONG_NAME))
            continue
        groups = found.groupdict()
        try:
            person = person_name(groups["person"])
        except InputError:
            left_out.append(LeftOut(path, WRONG_NAME))
            continue
        source = groups.get("source") or path.stem
        age = groups.get("age")
        photos.append(
            Photo(
                path,
                person,
                f"{family}/{source}",
                age=None if age is None else int(age),
            )
        )
    return photos, left_out


def by_file_name(photos: Iterable[Photo], title: str) -> dict[str, int]:
    """Position of each photo by its file name.

    Raises:
        InputError: two photos share a name, so a list could mean either.
    """
    position: dict[str, int] = {}
    seen: dict[str, Path] = {}
    for n, photo in enumerate(photos):
        name = photo.path.name
        if name in position:
            raise InputError(
                f"{title}: two photos are called {name}: {seen[name]} and {photo.path}",
                todo="give the folder of one version of the photos, not of several",
            )
        position[name], seen[name] = n, photo.path
    return position
