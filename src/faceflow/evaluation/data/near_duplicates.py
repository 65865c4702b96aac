"""Photos that are one photograph: equal files, the same picture again, and edits of it.

Leaving such pairs in turns identification into finding the same file, so protocols exclude
them and reports count them. Three kinds are told apart:

    file    the files hold the same bytes
    photo   the same picture, perhaps recompressed, brightened or moved a little
    part    one half of the picture is the same and another is not: a mask or glasses pasted on

Pictures are compared as small grey images whose brightness and contrast are evened out
locally, so that only structure counts. A coarse comparison of all pairs (16x16) proposes
pairs, a finer one (64x64) decides: over the whole picture after registration (an affine
warp), or over one half in place. What this does not see, a mirrored picture or a crop that
cuts off much more than a tenth, is left to ``Photo.source_id``.

The two limits were set on LFW (13,233 photos) and ROF (2,522). The 22 and 54 pairs found there
are one photograph each to the eye. Just below the limits, down to 0.70 (whole) and 0.75 (half),
lie frames of one moment and poor copies of one photograph, mixed; pairs of different people
reach 0.68 and 0.74. Of edits of 300 LFW photos, drawn in place, it found all glasses, 99% of the
masks, all recompressed, brightened, grey and halved copies and shifts of three pixels, 75% of
the 90% crops and no 70% crop, and no wrong pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

from faceflow.arrays import Bools, Float32, UInt8, unit
from faceflow.errors import ImageError, InputError
from faceflow.evaluation.data import LeftOut, Photo
from faceflow.faces.images import content_hash, load_image, read_photo

Kind = Literal["file", "photo", "part"]
Progress = Callable[[int, int], None]
"""Called with (photos read, photos in all)."""

WHOLE_LIMIT = 0.80
"""Least correlation of two registered pictures that are one photograph."""
HALF_LIMIT = 0.90
"""Least correlation of two halves, in place, that are one photograph."""

# The sizes of the pictures that propose, screen and decide.
_COARSE, _MIDDLE, _SIDE = 16, 32, 64
# Correlations of coarse pictures, as a whole and of a half, that are worth a finer look: far
# below what a pair needs in the end, so that a shift of some pixels does not hide it.
_WHOLE_PROPOSAL, _HALF_PROPOSAL = 0.67, 0.88
# Correlation of the middle pictures after registration that is worth the full one. Unlike
# photos reach 0.71 in one of a hundred proposals, one photograph has 0.88 and more.
_SCREEN = 0.80
# Numbers held at a time, in each of a few arrays: 16 MB.
_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two photos (positions in the sequence given) of one photograph.

    ``correlation`` is what decided: of the files 1, of the registered pictures, or of the
    half that agrees best.
    """

    a: int
    b: int
    kind: Kind
    correlation: float


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """What was found among some photos.

    Attributes:
        photos: the photos that were compared.
        pairs: those that are one photograph, though their source ids differ.
        unreadable: photos that could not be read; nothing is known of them.
    """

    photos: tuple[Photo, ...]
    pairs: tuple[DuplicatePair, ...]
    unreadable: tuple[LeftOut, ...]

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Pairs of source ids, as protocols take them."""
        return tuple(
            (self.photos[pair.a].source_id, self.photos[pair.b].source_id) for pair in self.pairs
        )

    @property
    def misfiled(self) -> tuple[DuplicatePair, ...]:
        """Pairs filed under two people: one of the two names is wrong."""
        return tuple(
            pair for pair in self.pairs if self.photos[pair.a].person != self.photos[pair.b].person
        )

    def summary(self) -> str:
        """How many there are of each kind."""
        kinds = Counter(pair.kind for pair in self.pairs)
        return (
            f"{len(self.pairs):,} near-duplicate pairs among {len(self.photos):,} photos "
            f"({kinds['file']:,} equal files, {kinds['photo']:,} the same picture, "
            f"{kinds['part']:,} edits); {len(self.misfiled):,} under two names; "
            f"{len(self.unreadable):,} photos could not be read"
        )


def find_near_duplicates(
    photos: Sequence[Photo], *, progress: Progress | None = None
) -> NearDuplicates:
    """Compare all photos with each other.

    Pairs that share a source id are known already and not reported. LFW's 13,233 photos take
    30 s of one core, a quarter of it for reading; memory is 7 KB a photo and a fixed 100 MB.

    Args:
        photos: gallery and queries together, or one set; a picture given twice is read once.
        progress: called while photos are read.

    Raises:
        InputError: no photo.
    """
    if not photos:
        raise InputError("there is no photo to compare")
    grey, hashes, unreadable = _read(photos, progress)
    readable = np.array(sorted(hashes), dtype=np.int64)
    equal = defaultdict(list)
    for n in readable.tolist():
        equal[hashes[n]].append(n)
    found: dict[tuple[int, int], DuplicatePair] = {}
    for group in equal.values():
        for i, a in enumerate(group):
            for b in group[i + 1 :]:
                found[a, b] = DuplicatePair(a, b, "file", 1.0)
    # One of each group of equal files speaks for it.
    unique = np.array([group[0] for group in equal.values()], dtype=np.int64)
    for i, j in _propose(grey[unique]):
        pair = _decide(grey, int(unique[i]), int(unique[j]))
        if pair is None:
            continue
        for a in equal[hashes[pair.a]]:
            for b in equal[hashes[pair.b]]:
                low, high = min(a, b), max(a, b)
                found[low, high] = DuplicatePair(low, high, pair.kind, pair.correlation)
    pairs = tuple(
        pair
        for key, pair in sorted(found.items())
        if photos[key[0]].source_id != photos[key[1]].source_id
    )
    return NearDuplicates(tuple(photos), pairs, tuple(unreadable))


def confirm(
    pairs: Sequence[tuple[Photo, Photo]], *, progress: Progress | None = None
) -> list[DuplicatePair | None]:
    """Whether pictures really show the photograph they are said to be made of.

    For edits made by other programs, see :mod:`faceflow.evaluation.data.edited`: a wrong pairing
    would keep a query apart from the wrong photo and let it meet its own. What an edit shares with
    its source is looked for as in :func:`find_near_duplicates`, so a cover may hide one half of
    the picture; a crop of 70%, or a cover over more, cannot be confirmed.

    Args:
        pairs: (edited, source).
        progress: called while photos are read.

    Returns:
        For each pair what agreed, with the positions of both in ``pairs`` flattened; None where
        nothing did or a picture cannot be read.

    Raises:
        InputError: no pair.
    """
    if not pairs:
        raise InputError("there is no pair to compare")
    flat = [photo for pair in pairs for photo in pair]
    grey, hashes, _ = _read(flat, progress)
    found: list[DuplicatePair | None] = []
    for a in range(0, len(flat), 2):
        b = a + 1
        if a not in hashes or b not in hashes:
            found.append(None)
        elif hashes[a] == hashes[b]:
            found.append(DuplicatePair(a, b, "file", 1.0))
        else:
            found.append(_decide(grey, a, b))
    return found


def _read(
    photos: Sequence[Photo], progress: Progress | None
) -> tuple[UInt8, dict[int, str], list[LeftOut]]:
    """(N, 64, 64) grey pictures, the content hash of each that could be read, and the others."""
    grey = np.zeros((len(photos), _SIDE, _SIDE), dtype=np.uint8)
    hashes: dict[int, str] = {}
    unreadable: list[LeftOut] = []
    for n, photo in enumerate(photos):
        try:
            data = read_photo(photo.image)
            pixels = load_image(data)
        except ImageError as error:
            unreadable.append(LeftOut(photo.path, str(error)))
        else:
            hashes[n] = content_hash(data)
            flat = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            grey[n] = cv2.resize(flat, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        if progress is not None:
            progress(n + 1, len(photos))
    return grey, hashes, unreadable


def _structure(grey: UInt8 | Float32) -> Float32:
    """A grey picture with local brightness and contrast evened out."""
    wide = np.asarray(grey, dtype=np.float32)
    near, far = (1.5, 2.5) if len(wide) <= _COARSE else (2.0, 3.5)
    detail = wide - cv2.GaussianBlur(wide, (0, 0), near)
    # 4 grey levels squared: flat areas keep their noise small instead of blowing it up.
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), far) + 4)
    return np.asarray(detail / contrast, dtype=np.float32)


@cache
def _inner(side: int) -> Bools:
    """All but the rim: black borders and frames are alike in unlike photos."""
    inner = np.zeros((side, side), dtype=np.bool_)
    rim = side // 16
    inner[rim:-rim, rim:-rim] = True
    return inner


@cache
def _halves(side: int) -> list[Bools]:
    """The upper, lower, left and right half, without the rim."""
    rows, columns = np.mgrid[:side, :side]
    middle = side // 2
    halves = (rows < middle, rows >= middle, columns < middle, columns >= middle)
    return [half & _inner(side) for half in halves]


def _smaller(grey: UInt8, side: int) -> UInt8:
    small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def _propose(grey: UInt8) -> list[tuple[int, int]]:
    """Pairs whose coarse pictures agree, as a whole or in one half."""
    coarse = np.stack([_structure(_smaller(picture, _COARSE)) for picture in grey])
    views = [(unit(coarse[:, _inner(_COARSE)]), _WHOLE_PROPOSAL)]
    views += [(unit(coarse[:, half]), _HALF_PROPOSAL) for half in _halves(_COARSE)]
    pairs: list[tuple[int, int]] = []
    start = 0
    while start < len(grey):
        stop = min(len(grey), start + max(1, _CELLS // (len(grey) - start)))
        alike = np.zeros((stop - start, len(grey) - start), dtype=np.bool_)
        for view, limit in views:
            alike |= view[start:stop] @ view[start:].T >= limit
        rows, columns = np.nonzero(np.triu(alike, 1))
        pairs += zip((rows + start).tolist(), (columns + start).tolist(), strict=True)
        start = stop
    return pairs


def _decide(grey: UInt8, a: int, b: int) -> DuplicatePair | None:
    """The pair, if its finer pictures are one photograph."""
    first, second = _structure(grey[a]), _structure(grey[b])
    whole = _correlation(first, second, _inner(_SIDE))
    screen = _registered(_smaller(grey[a], _MIDDLE), _smaller(grey[b], _MIDDLE), 10)
    if screen >= _SCREEN:
        whole = max(whole, _registered(grey[a], grey[b], 30))
    low, high = min(a, b), max(a, b)
    if whole >= WHOLE_LIMIT:
        return DuplicatePair(low, high, "photo", whole)
    half = max(_correlation(first, second, mask) for mask in _halves(_SIDE))
    return DuplicatePair(low, high, "part", half) if half >= HALF_LIMIT else None


def _registered(first: UInt8, second: UInt8, iterations: int) -> float:
    """Correlation after the affine warp that brings the second picture onto the first
    (enhanced correlation coefficient, Evangelidis and Psarakis 2008)."""
    side = len(first)
    everywhere = np.full((side, side), 255, dtype=np.uint8)
    try:
        _, warp = cv2.findTransformECC(
            first.astype(np.float32),
            second.astype(np.float32),
            np.eye(2, 3, dtype=np.float32),
            cv2.MOTION_AFFINE,
            (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, 1e-4),
            everywhere,
            5 if side > _MIDDLE else 3,
        )
    except cv2.error:  # it does not converge: these pictures have nothing to register by
        return -1.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = np.asarray(cv2.warpAffine(second, warp, (side, side), flags=flags), dtype=np.uint8)
    covered = cv2.warpAffine(everywhere, warp, (side, side), flags=flags) == 255
    inner = _inner(side)
    if (covered & inner).sum() < inner.sum() / 2:
        return -1.0  # half the picture slid away: what is left proves nothing
    return _correlation(_structure(first), _structure(moved), covered & inner)


def _correlation(first: Float32, second: Float32, where: Bools) -> float:
    a, b = first[where].astype(np.float64), second[where].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    length = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / length) if length > 0 else 0.0
