"""The text files that come with data sets: photo lists and verification pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from faceflow.errors import InputError
from faceflow.evaluation.data.dataset import LeftOut, Pair
from faceflow.system.files import read_text

FOLDS = 10


@dataclass(frozen=True, slots=True)
class NamedPair:
    """A pair as a list writes it: two paths or file names, the truth, and the fold from 0."""

    a: str
    b: str
    same: bool
    fold: int = 0


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that hold something, stripped, with their numbers from 1.

    Raises:
        InputError: the file cannot be read as text, or holds nothing.
    """
    text = read_text(path, kind="list")
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
    lines = [(n, line) for n, line in lines if line]
    if not lines:
        raise InputError(f"The list {path} is empty")
    return lines


def malformed(path: Path, number: int, expected: str) -> InputError:
    """The error for a line that does not read as it should."""
    return InputError(f"{path}, line {number}, is malformed", why=f"expected {expected}")


def read_label_list(path: Path) -> list[tuple[str, str]]:
    """(photo path, label) of each line ``path,label``: the lists published with the paper's
    code (``data_files``). The path may hold commas; the label may not.

    Raises:
        InputError: a line is malformed, or a path is listed twice.
    """
    entries: dict[str, str] = {}
    for number, line in read_lines(path):
        place, comma, label = line.rpartition(",")
        if not (comma and place.strip() and label.strip()):
            raise malformed(path, number, "a photo's path, a comma and a label")
        if place.strip() in entries:
            raise InputError(f"{path}, line {number}, lists {place.strip()} a second time")
        entries[place.strip()] = label.strip()
    return list(entries.items())


def read_lfw_pairs(path: Path) -> list[NamedPair]:
    """Pairs in LFW's own format, as file names.

    The first line holds the number of folds and of pairs of each kind per fold (or that
    number alone, as in ``pairsDevTest.txt``: one fold). Then each fold lists its same pairs
    as ``NAME i j`` and its different ones as ``NAME i NAME j``.

    Raises:
        InputError: a line is malformed, or the counts disagree with the first line.
    """
    (first, header), *lines = read_lines(path)
    counts = header.split()
    if not (1 <= len(counts) <= 2 and all(word.isdecimal() and int(word) for word in counts)):
        raise malformed(path, first, "the number of folds and of pairs of each kind")
    folds, each = (1, int(counts[0])) if len(counts) == 1 else (int(counts[0]), int(counts[1]))
    if len(lines) != folds * 2 * each:
        raise InputError(
            f"{path} holds {len(lines):,} pairs",
            why=f"its first line promises {folds} times {each} same and {each} different pairs",
        )
    pairs: list[NamedPair] = []
    for n, (number, line) in enumerate(lines):
        same = n % (2 * each) < each
        match line.split():
            case [a, i, j] if same and i.isdecimal() and j.isdecimal():
                names = _lfw_file(a, i), _lfw_file(a, j)
            case [a, i, b, j] if not same and i.isdecimal() and j.isdecimal():
                names = _lfw_file(a, i), _lfw_file(b, j)
            case _:
                kind = "NAME number number" if same else "NAME number NAME number"
                raise malformed(path, number, kind)
        pairs.append(NamedPair(*names, same, n // (2 * each)))
    return pairs


def _lfw_file(person: str, number: str) -> str:
    return f"{person}_{int(number):04d}.jpg"


def read_path_pairs(path: Path) -> list[NamedPair]:
    """Pairs written ``path path label``, label 1 for the same person (MLFW's ``pairs.txt``, the
    LFW list of arcface-pytorch).

    Raises:
        InputError: a line is malformed.
    """
    pairs: list[NamedPair] = []
    for number, line in read_lines(path):
        match line.split():
            case [a, b, ("0" | "1") as label]:
                pairs.append(NamedPair(a, b, label == "1"))
            case _:
                raise malformed(path, number, "two paths and 0 or 1, separated by blanks")
    return by_kind(pairs)


def read_two_line_pairs(path: Path) -> list[NamedPair]:
    """Pairs written on two lines ``file label``, as in CALFW and CPLFW.

    Label 0 means different people and anything above the same person; CALFW counts the folds
    of the same pairs 1 to 10 there and gives the different ones no fold of their own.

    Raises:
        InputError: a line is malformed, or a pair's two labels differ.
    """
    lines = read_lines(path)
    if len(lines) % 2:
        raise InputError(f"{path} has an odd number of lines", why="each pair takes two")
    pairs: list[NamedPair] = []
    for (_, first), (number, second) in zip(lines[::2], lines[1::2], strict=True):
        match first.rsplit(maxsplit=1), second.rsplit(maxsplit=1):
            case [a, i], [b, j] if i == j and i.isdecimal():
                pairs.append(NamedPair(a, b, int(i) > 0))
            case _:
                raise malformed(path, number, "a file and the label of the line before")
    return by_kind(pairs)


def by_kind(pairs: Sequence[NamedPair], folds: int = FOLDS) -> list[NamedPair]:
    """Deal pairs into contiguous folds of equal size, same and different ones each in order.

    This is LFW's division, however the list is ordered: fold by fold, or all same pairs first.
    """
    totals = {kind: sum(pair.same is kind for pair in pairs) for kind in (True, False)}
    seen = {True: 0, False: 0}
    dealt: list[NamedPair] = []
    for pair in pairs:
        dealt.append(replace(pair, fold=seen[pair.same] * folds // totals[pair.same]))
        seen[pair.same] += 1
    return dealt


def resolve(
    pairs: Sequence[NamedPair], position: Mapping[str, int], root: Path
) -> tuple[list[Pair], list[LeftOut]]:
    """Find the photos of pairs by file name; a pair with a missing photo is left out."""
    found: list[Pair] = []
    left_out: list[LeftOut] = []
    for pair in pairs:
        a, b = (position.get(PurePosixPath(name).name) for name in (pair.a, pair.b))
        if a is None or b is None:
            missing = pair.a if a is None else pair.b
            left_out.append(LeftOut(root / missing, "a pair names it and it is not there"))
        else:
            found.append(Pair(a, b, pair.same, pair.fold))
    return found, left_out
