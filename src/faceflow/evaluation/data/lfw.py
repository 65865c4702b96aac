"""Labeled Faces in the Wild, its pair list, and the photo lists published with the paper."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from faceflow.errors import InputError
from faceflow.evaluation.data.dataset import Dataset, LeftOut, Photo
from faceflow.evaluation.data.layout import WRONG_NAME, Origin, by_file_name, photos_by_name
from faceflow.evaluation.data.lists import (
    NamedPair,
    malformed,
    read_label_list,
    read_lfw_pairs,
    read_lines,
    read_path_pairs,
    resolve,
)

ORIGIN = Origin("LFW", "http://vis-www.cs.umass.edu/lfw")
NESTED = ("lfw", "lfw_funneled", "lfw-funneled", "lfw-deepfunneled")
RULE = re.compile(r"(?P<person>.+)_\d{4}")


def read_lfw(
    root: Path,
    *,
    pairs: Path | None = None,
    listing: Path | None = None,
    searched: Path | None = None,
) -> Dataset:
    """Read ``root/NAME/NAME_0001.jpg``.

    Args:
        root: the folder of people, or the folder the archive was unpacked in.
        pairs: a pair list, in LFW's format or as ``path path label``. None takes a
            ``pairs.txt`` in or beside the folder, if there is one.
        listing: a published ``path,label`` list: only its photos are kept, in its order. Its
            paths name other folders, so photos are found by file name.
        searched: another such list (of the masked photos, say): only its photos are searched
            with, all stay enrolled.

    Raises:
        InputError: a folder or list is missing or malformed, or a list contradicts the names.
    """
    found = read_lfw_like(root, ORIGIN, pairs=pairs, listing=listing)
    if searched is None:
        return found
    wanted = {photo.source_id for photo in read_listing(ORIGIN.file(searched))}
    known = {photo.source_id for photo in found.photos}
    absent = [
        LeftOut(Path(f"{name}.jpg"), "the list of searched photos names it and it is not there")
        for name in sorted(wanted - known)
    ]
    return replace(found, searched=frozenset(wanted & known), left_out=(*found.left_out, *absent))


def read_lfw_like(
    root: Path, origin: Origin, *, pairs: Path | None = None, listing: Path | None = None
) -> Dataset:
    """Read a set that keeps LFW's file names: LFW itself, aligned, masked or attacked.

    Every photo gets the source id of the LFW photo it was made from.
    """
    folder = origin.folder(root, NESTED)
    beside = [folder / "pairs.txt", folder.parent / "pairs.txt", root / "pairs.txt"]
    if pairs is None:
        pairs = next((path for path in beside if path.is_file()), None)
    named = [] if pairs is None else read_pairs(origin.file(pairs))
    found, left_out = photos_by_name(folder, "lfw", RULE, known=beside)
    photos = []
    for photo in found:
        if photo.path.parent != folder and photo.path.parent.name != photo.path.stem[:-5]:
            left_out.append(LeftOut(photo.path, "its name is not its folder's"))
        else:
            photos.append(photo)
    position = by_file_name(photos, origin.title)
    if listing is not None:
        wanted = read_listing(origin.file(listing))
        names = [photo.path.name for photo in wanted]
        for photo in wanted:
            if photo.path.name not in position:
                left_out.append(LeftOut(photo.path, "the list names it and it is not there"))
        listed = set(names)
        for photo in photos:
            if photo.path.name not in listed:
                left_out.append(LeftOut(photo.path, "the list does not name it"))
        photos = [photos[position[name]] for name in names if name in position]
        position = by_file_name(photos, origin.title)
    resolved, missing = resolve(named, position, folder)
    return Dataset(origin.title, root, tuple(photos), (*left_out, *missing), tuple(resolved))


def read_pairs(path: Path) -> list[NamedPair]:
    """Pairs in LFW's format or as ``path path label``, told by the first line.

    Raises:
        InputError: the list is neither, or malformed.
    """
    number, first = read_lines(path)[0]
    match first.split():
        case [_, _, "0" | "1"]:
            return read_path_pairs(path)
        case [*counts] if counts and all(word.isdecimal() for word in counts):
            return read_lfw_pairs(path)
    raise malformed(path, number, "the counts of an LFW pair list, or 'path path label'")


def read_listing(path: Path) -> tuple[Photo, ...]:
    """The photos a published list names, without looking for them on disk.

    That is enough for a protocol: who has how many photos, and which are one photograph.

    Raises:
        InputError: a line is malformed, a photo is listed twice, or a label stands for two
            people or a person for two labels.
    """
    photos: dict[str, Photo] = {}
    labels: dict[str, str] = {}
    owners: dict[str, str] = {}
    for place, label in read_label_list(path):
        name = PurePosixPath(place)
        found = RULE.fullmatch(name.stem)
        if found is None:
            raise InputError(f"{path} lists {place}", why=WRONG_NAME)
        person = found["person"]
        if labels.setdefault(person, label) != label or owners.setdefault(label, person) != person:
            raise InputError(
                f"{path} contradicts itself at {place}",
                why=f"label {label} and {person} do not belong to each other alone",
            )
        if name.name in photos:
            raise InputError(f"{path} lists {name.name} in two folders")
        photos[name.name] = Photo(Path(place), person, f"lfw/{name.stem}")
    return tuple(photos.values())
