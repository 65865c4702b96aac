"""Maps that a network's frozen part makes of people's photos, clean and covered, to train on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import Bools, Floats, Int64, UInt8
from faceflow.errors import FaceflowError, InputError, NoFaceError
from faceflow.faces.alignment import align, template
from faceflow.faces.detectors import Detection, Detector
from faceflow.faces.images import content_hash, load_image
from faceflow.gallery.enrolment import Photo, SelectOne
from faceflow.networks import FaceNetwork
from faceflow.occlusion import occlude, occlusions
from faceflow.training.array_cache import ArrayCache

CLEAN = "clean"
_BATCH = 8
Progress = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""


class Look(NamedTuple):
    """How a photo is shown: under which cover, drawn with which seed, and whether mirrored."""

    cover: str = CLEAN
    seed: int = 0
    mirrored: bool = False

    @property
    def key(self) -> str:
        """What tells it from others of the same photo."""
        return f"{self.cover} {self.seed}" + (" mirrored" if self.mirrored else "")


class Frozen(Protocol):
    """A part of a network that is not trained."""

    identity: str
    """Which network's, and how much of it."""
    template: str
    """How crops are aligned for it."""
    shape: tuple[int, ...]
    """(C, h, w)"""

    def __call__(self, crops: UInt8) -> Floats:
        """(n, H, W, 3) uint8 RGB -> (n, C, h, w)."""


class PatchMaps:
    """All of a network but its last layer, as :class:`Frozen`."""

    def __init__(self, network: FaceNetwork) -> None:
        spec, self._network = network.spec, network
        self.identity, self.template = f"maps {spec.digest}", spec.template
        self.shape: tuple[int, ...] = (spec.channels, *spec.grid)

    def __call__(self, crops: UInt8) -> Floats:
        """The raw patches."""
        found: Floats = self._network.run(self._network.scale(crops))[1]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """N faces, some of them the same photo under different covers.

    Attributes:
        maps: (M, C, h, w) raw patch maps in float16 or float32, M >= N, maybe memory-mapped.
        row: (N,) each face's map.
        person: (N,) each face's person, an index into ``names``.
        photo: (N,) which photo it is of, any integers.
        covered: (N,) whether the face is covered.
        names: the people.
    """

    maps: NDArray[Any]
    row: Int64
    person: Int64
    photo: Int64
    covered: Bools
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.row)
        if self.maps.ndim != 4 or any(len(a) != n for a in (self.person, self.photo, self.covered)):
            raise InputError("samples need (M, C, h, w) maps and one entry per face in the rest")

    def __len__(self) -> int:
        return len(self.row)

    def select(self, which: Bools) -> Samples:
        """The faces where ``which`` (N,) is true; maps and names stay."""
        return Samples(
            self.maps,
            self.row[which],
            self.person[which],
            self.photo[which],
            self.covered[which],
            self.names,
        )

    def embed(self, weight: Floats, bias: Floats, *, block: int = 512) -> Floats:
        """(N, D) raw embeddings through a last layer.

        Args:
            weight: (D, C * h * w), channels first.
            bias: (D,).
            block: faces at once.
        """
        result = np.empty((len(self), len(bias)), np.float32)
        for start in range(0, len(self), block):
            part = slice(start, start + block)
            result[part] = self.flat(part) @ weight.T + bias
        return result

    def flat(self, which: slice | Int64) -> Floats:
        """(n, C * h * w) float32 maps of some faces."""
        maps = self.maps[self.row[which]]
        return np.asarray(maps.reshape(len(maps), -1), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A photo, under one cover, that gave no sample, and why."""

    path: Path
    cover: str
    error: FaceflowError


def check_covers(covers: Sequence[str]) -> None:
    """Raise :class:`InputError` unless :func:`faceflow.occlusion.occlude` knows all of them."""
    unknown = [cover for cover in covers if cover not in occlusions()]
    if unknown or not covers:
        raise InputError(
            f"no cover is called {unknown[0]!r}" if unknown else "no cover is named",
            todo=f"use some of {', '.join(occlusions())}",
        )


def collect_samples(
    photos: Sequence[Photo],
    analyzer: FaceAnalyzer,
    folder: Path,
    *,
    covers: Sequence[str] = ("mask", "sunglasses"),
    copies: int = 1,
    select: SelectOne = "largest",
    progress: Progress | None = None,
) -> tuple[Samples, tuple[LeftOut, ...]]:
    """Compute what is not yet in the cache and give all samples of the photos.

    Each photo gives its clean face and, per cover, ``copies`` covered ones of different seeds.
    Covers are drawn on the photo before detection, so a covered face is aligned by what the
    detector finds of it, as it will be at identification.

    Args:
        photos: with their people.
        analyzer: its network gives the maps.
        folder: of the cache; the work of an interrupted call is found there.
        covers: names of :func:`faceflow.occlusion.occlusions`.
        copies: covered faces per photo and cover.
        select: which face of a photo with several.
        progress: told after each photo.

    Returns:
        The samples, and the photos and covers in which no face was found or that cannot be read.

    Raises:
        InputError: unknown cover, ``copies`` below 1.
        FaceflowError: the cache cannot be used.
    """
    check_covers(covers)
    if copies < 1:
        raise InputError(f"copies is {copies}", todo="give 1 or more")
    looks = [Look(), *(Look(cover, seed) for cover in covers for seed in range(copies))]
    return collect(
        photos,
        PatchMaps(analyzer.network),
        analyzer.detector,
        folder,
        looks=lambda _: looks,
        select=select,
        progress=progress,
    )


def collect(
    photos: Sequence[Photo],
    frozen: Frozen,
    detector: Detector,
    folder: Path,
    *,
    looks: Callable[[str], Sequence[Look]],
    select: SelectOne = "largest",
    progress: Progress | None = None,
) -> tuple[Samples, tuple[LeftOut, ...]]:
    """The same for any frozen part of a network and any way of showing a photo.

    Args:
        photos, folder, select, progress: as for :func:`collect_samples`.
        frozen: gives the maps.
        detector: finds the faces.
        looks: how a photo is shown, by the sum over its content.

    Raises:
        FaceflowError: the cache cannot be used.
    """
    cache = ArrayCache(
        folder,
        np.float16,
        frozen.shape,
        identity=f"{frozen.identity} {detector.name} {select}",
    )
    entries, left_out = _fill(photos, looks, frozen, detector, cache, select, progress)
    rows = cache.rows()
    names = tuple(sorted({photo.person for photo in photos}))
    code = {name: number for number, name in enumerate(names)}
    kept: list[tuple[int, int, int, bool]] = []
    left, without_face = list(left_out), set[int]()
    for number, photo, cover, key in entries:
        row = rows.get(key)
        if row is not None:
            kept.append((row, code[photo.person], number, cover != CLEAN))
        elif number not in without_face:  # one word per photo and cover that failed
            without_face |= {number} if cover == CLEAN else set()
            left.append(
                LeftOut(photo.path, cover, NoFaceError(f"No face was found in {photo.path}"))
            )
    table = np.array(kept, np.int64).reshape(-1, 4)
    samples = Samples(
        cache.arrays(), table[:, 0], table[:, 1], table[:, 2], table[:, 3].astype(np.bool_), names
    )
    return samples, tuple(left)


_Entry = tuple[int, Photo, str, str]


def _fill(
    photos: Sequence[Photo],
    looks: Callable[[str], Sequence[Look]],
    frozen: Frozen,
    detector: Detector,
    cache: ArrayCache,
    select: SelectOne,
    progress: Progress | None,
) -> tuple[list[_Entry], list[LeftOut]]:
    known = set(cache.rows())
    entries: list[_Entry] = []
    left_out: list[LeftOut] = []
    pending: list[tuple[str, UInt8]] = []
    seen: set[str] = set()
    for number, photo in enumerate(photos):
        try:
            digest = content_hash(photo.path)
        except FaceflowError as error:
            left_out.append(LeftOut(photo.path, CLEAN, error))
            continue
        shown = looks(digest)
        keys = [f"{digest} {look.key}" for look in shown]
        if photo.person + digest in seen:  # the same picture twice would leak into validation
            continue
        seen.add(photo.person + digest)
        missing = [(k, v) for k, v in zip(keys, shown, strict=True) if k not in known]
        try:
            for key, crop in _crops(photo.path, missing, frozen, detector, select):
                known.add(key)
                if crop is None:
                    cache.add([(key, None)])
                else:
                    pending.append((key, crop))
        except FaceflowError as error:
            left_out.append(LeftOut(photo.path, CLEAN, error))
            continue
        if len(pending) >= _BATCH:
            _flush(pending, frozen, cache)
        entries += [(number, photo, v.cover, k) for k, v in zip(keys, shown, strict=True)]
        if progress is not None:
            progress(number + 1, len(photos))
    _flush(pending, frozen, cache)
    return entries, left_out


def _flush(pending: list[tuple[str, UInt8]], frozen: Frozen, cache: ArrayCache) -> None:
    if pending:
        maps = frozen(np.stack([crop for _, crop in pending]))
        cache.add([(key, one) for (key, _), one in zip(pending, maps, strict=True)])
        pending.clear()


def _crops(
    path: Path,
    wanted: Sequence[tuple[str, Look]],
    frozen: Frozen,
    detector: Detector,
    select: SelectOne,
) -> Iterator[tuple[str, UInt8 | None]]:
    """The aligned face of one photo under each cover; None where the detector finds none."""
    if not wanted:
        return
    target = template(frozen.template)
    image = load_image(path)
    clean = find_face(image, detector, select)
    for key, look in wanted:
        if clean is None:
            yield key, None
            continue
        shown, face = image, clean
        if look.cover != CLEAN:
            shown = occlude(look.cover, image, clean.landmarks, look.seed).image
            found = find_face(shown, detector, select)
            if found is None:
                yield key, None
                continue
            face = found
        crop = align(shown, face.landmarks, target)
        yield key, np.ascontiguousarray(crop[:, ::-1]) if look.mirrored else crop


def find_face(image: UInt8, detector: Detector, select: SelectOne) -> Detection | None:
    """The largest face of an image, or the one nearest to its middle; None without any."""
    found = detector.detect(image)
    if not found:
        return None
    if select == "largest":
        return max(found, key=lambda one: one.size)
    middle = np.array(image.shape[1::-1]) / 2
    return min(
        found,
        key=lambda one: float(np.linalg.norm((one.box[:2] + one.box[2:]) / 2 - middle)) / one.size,
    )


def drawn_looks(
    covers: Sequence[str], copies: int, mirrored_share: float, seed: int
) -> Callable[[str], list[Look]]:
    """For :func:`collect`: the clean face, and ``copies`` under covers drawn at random.

    Kind, place and colour of each cover, and whether it is mirrored, are a function of the photo's
    content and the seed; more copies leave the first ones as they are.
    """

    def looks(content: str) -> list[Look]:
        rng = np.random.default_rng([seed, int(content[:16], 16)])
        found = [Look()]
        for _ in range(copies):
            cover = covers[int(rng.integers(len(covers)))]
            found.append(Look(cover, int(rng.integers(2**31)), bool(rng.random() < mirrored_share)))
        return found

    return looks
