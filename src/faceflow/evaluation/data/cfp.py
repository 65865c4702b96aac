"""Celebrities in Frontal-Profile: 500 people, ten frontal and four profile photos each."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from faceflow.errors import InputError
from faceflow.evaluation.data.dataset import Dataset, LeftOut, Pair, Photo
from faceflow.evaluation.data.layout import Origin, photos_by_person
from faceflow.evaluation.data.lists import malformed, read_lines

ORIGIN = Origin("CFP", "http://www.cfpw.io")
PROTOCOLS = ("FP", "FF")
CONDITIONS = ("frontal", "profile")


def read_cfp(root: Path, *, protocol: str = "FP") -> Dataset:
    """Read ``Data/Images/001/{frontal,profile}/01.jpg`` and one protocol's ten splits.

    ``Protocol/Pair_list_F.txt`` and ``Pair_list_P.txt`` number the frontal and profile photos
    from 1; ``Protocol/Split/FP/01/same.txt`` and ``diff.txt`` hold such numbers as ``i,j``.
    In FP the first is frontal and the second profile, in FF both are frontal.

    Args:
        root: the unpacked archive, or a folder that holds it as ``cfp-dataset``.
        protocol: "FP" frontal against profile, or "FF" frontal against frontal.

    Raises:
        InputError: a folder or list is missing or malformed, or another protocol's name.
    """
    if protocol not in PROTOCOLS:
        raise InputError(
            f"CFP has no protocol {protocol!r}", todo=f"choose one of {', '.join(PROTOCOLS)}"
        )
    base = ORIGIN.folder(root, ("cfp-dataset",))
    folder = ORIGIN.folder(base / "Data" / "Images")
    found, left_out = photos_by_person(folder, "cfp")
    photos: list[Photo] = []
    for photo in found:
        below = photo.path.relative_to(folder).parts
        if len(below) != 3 or below[1] not in CONDITIONS:
            left_out.append(LeftOut(photo.path, "it is neither in frontal nor in profile"))
        else:
            photos.append(Photo(photo.path, photo.person, photo.source_id, below[1]))
    position = {photo.path.relative_to(folder).as_posix(): n for n, photo in enumerate(photos)}
    pairs, missing = _pairs(base / "Protocol", protocol, folder, position)
    return Dataset(f"{ORIGIN.title}-{protocol}", root, tuple(photos), (*left_out, *missing), pairs)


def _pairs(
    protocol: Path, name: str, folder: Path, position: dict[str, int]
) -> tuple[tuple[Pair, ...], list[LeftOut]]:
    lists = [_numbered(protocol / f"Pair_list_{letter}.txt") for letter in ("F", name[1])]
    splits = sorted(p for p in ORIGIN.folder(protocol / "Split" / name).iterdir() if p.is_dir())
    if not splits:
        raise InputError(f"{protocol / 'Split' / name} holds no split")
    pairs: list[Pair] = []
    missing: list[LeftOut] = []
    for fold, split in enumerate(splits):
        for file, same in ((split / "same.txt", True), (split / "diff.txt", False)):
            for number, line in read_lines(ORIGIN.file(file)):
                photos = _photos(file, number, line, lists)
                a, b = (position.get(photo) for photo in photos)
                if a is None or b is None:
                    path = folder / photos[0 if a is None else 1]
                    missing.append(LeftOut(path, "a pair names it and it is not there"))
                else:
                    pairs.append(Pair(a, b, same, fold))
    return tuple(pairs), missing


def _photos(file: Path, number: int, line: str, lists: list[dict[str, str]]) -> list[str]:
    """The two photos a line ``i,j`` of a split stands for."""
    words = [word.strip() for word in line.split(",")]
    if len(words) != 2 or any(word not in known for word, known in zip(words, lists, strict=True)):
        raise malformed(file, number, "two numbers of the pair lists, separated by a comma")
    return [known[word] for word, known in zip(words, lists, strict=True)]


def _numbered(path: Path) -> dict[str, str]:
    """Number -> PERSON/CONDITION/FILE; the list's own paths start at its folder."""
    found: dict[str, str] = {}
    for number, line in read_lines(ORIGIN.file(path)):
        index, _, place = line.partition(" ")
        parts = PurePosixPath(place.strip()).parts
        if not index.isdecimal() or len(parts) < 3:
            raise malformed(path, number, "a number and a path")
        found[index] = "/".join(parts[-3:])
    return found
