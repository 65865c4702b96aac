"""Faces to learn covers from: photos as they are and under drawn covers, which are known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from faceflow.analyzer import Face, FaceAnalyzer
from faceflow.arrays import Bools, Float32, Int64, UInt8
from faceflow.errors import FaceflowError, InputError
from faceflow.faces.alignment import Template, template
from faceflow.faces.images import iter_images, load_image
from faceflow.features import FaceFeatures, Grid
from faceflow.gallery.enrolment import SelectOne, photos_in_csv
from faceflow.occlusion import occlude

CLEAN = "clean"
OTHER = "other"
"""The third cover of a photo, one of :data:`OTHERS` in turn."""
OTHERS = ("hand", "scarf", "hat", "blob", "crop")
KINDS = (CLEAN, "mask", "sunglasses", OTHER)
COVERED_FROM = 0.5
"""A patch counts as covered from this share of its cell on."""
Progress = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""


@dataclass(frozen=True, slots=True)
class Source:
    """A photo, and the person it shows where the folders say so."""

    path: Path
    person: str | None


@dataclass(frozen=True, slots=True, eq=False)
class DrawnFaces:
    """N faces, some of them of one photo under different covers.

    Attributes:
        features: of the faces.
        covered: (N, R) float32, share of each patch's cell that does not show the photo.
        photo: (N,) which photo it is of.
        kind: (N,) positions in :data:`KINDS`.
        person: (N,) which person it is of, -1 where nobody says.
        left_out: photos that gave nothing, and why.
    """

    features: FaceFeatures
    covered: Float32
    photo: Int64
    kind: Int64
    person: Int64
    left_out: tuple[tuple[Path, FaceflowError], ...]

    def __len__(self) -> int:
        return len(self.photo)

    @property
    def hidden(self) -> Bools:
        """(N, R) whether each patch counts as covered."""
        return np.asarray(self.covered > COVERED_FROM)

    def of_kind(self, name: str) -> Bools:
        """(N,) whether a face is under a cover of that kind."""
        return np.asarray(self.kind == KINDS.index(name))


class _Drawn(NamedTuple):
    """One face; the fields are those of :class:`DrawnFaces`."""

    features: FaceFeatures
    shares: Float32
    photo: int
    kind: int
    person: int


def find_photos(root: str | Path) -> list[Source]:
    """The photos of a folder, or of a CSV file with the columns path and person.

    A photo in a subfolder shows the person that the subfolder is named after; one that lies in
    the folder itself shows nobody known.

    Raises:
        InputError: there are none.
        ImageError: the folder cannot be read.
    """
    place = Path(root)
    if place.suffix.lower() == ".csv" and not place.is_dir():
        return [Source(one.path, one.person) for one in photos_in_csv(place).photos]
    found = [
        Source(path, path.relative_to(place).parts[0] if path.parent != place else None)
        for path in iter_images(place)
    ]
    if not found:
        raise InputError(f"There are no photos in {place}", todo="give a folder of faces")
    return found


def choose_photos(photos: Sequence[Source], limit: int) -> list[list[Source]]:
    """At most ``limit`` photos to learn from, each alone or behind another of its person.

    Of a person with two or more photos two are taken: the second is covered, the first stays as
    it is and is what the check looks for. People with two come first, one photo a person; who
    is taken depends on the names alone.

    Returns:
        Lists of one photo, or of two.
    """
    people: dict[str, list[Source]] = {}
    for photo in photos:
        key = f"\0{photo.path}" if photo.person is None else photo.person
        people.setdefault(key, []).append(photo)
    order = sorted(people, key=lambda name: hashlib.sha256(name.encode()).digest())
    order.sort(key=lambda name: len(people[name]) < 2)
    return [people[name][:2] for name in order[:limit]]


def draw_faces(
    chosen: Sequence[Sequence[Source]],
    analyzer: FaceAnalyzer,
    *,
    select: SelectOne = "largest",
    seed: int = 0,
    progress: Progress | None = None,
) -> DrawnFaces:
    """Analyze photos, and again with each cover drawn on them.

    A covered photo goes through detection anew, as it would in use; where its face is no longer
    found there is nothing to learn. Memory: N * R * C * 4 bytes, 0.1 MB a face for 7x7x512.

    Args:
        chosen: from :func:`choose_photos`.
        analyzer: finds and describes faces.
        select: which face of a photo with several.
        seed: of the covers.
        progress: told after each photo that is covered.

    Raises:
        InputError: no photo shows a face.
    """
    spec = analyzer.network.spec
    layout = template(spec.template)
    found: list[_Drawn] = []
    left_out: list[tuple[Path, FaceflowError]] = []
    people: dict[str, int] = {}
    for number, photos in enumerate(chosen):
        name = photos[-1].person
        person = -1 if name is None else people.setdefault(name, len(people))
        try:
            other = OTHERS[number % len(OTHERS)]
            for kind, face, hidden in _covered(photos[-1].path, analyzer, select, other, seed):
                shares = cell_shares(hidden, face, layout, spec.grid)
                found.append(_Drawn(face.features, shares, 2 * number, kind, person))
            if len(photos) > 1:
                image = load_image(photos[0].path)
                (face,) = analyzer.analyze(image, select=select)
                nothing = np.zeros(image.shape[:2], np.bool_)
                shares = cell_shares(nothing, face, layout, spec.grid)
                found.append(_Drawn(face.features, shares, 2 * number + 1, 0, person))
        except FaceflowError as error:
            left_out.append((photos[-1].path, error))
        if progress is not None:
            progress(number + 1, len(chosen))
    if not found:
        raise InputError(
            f"no face was found in any of {len(chosen):,} photos", todo="give photos of faces"
        )
    return DrawnFaces(
        FaceFeatures.concatenate([one.features for one in found]),
        np.stack([one.shares for one in found]),
        np.array([one.photo for one in found], dtype=np.int64),
        np.array([one.kind for one in found], dtype=np.int64),
        np.array([one.person for one in found], dtype=np.int64),
        tuple(left_out),
    )


def _covered(
    path: Path, analyzer: FaceAnalyzer, select: SelectOne, other: str, seed: int
) -> Iterator[tuple[int, Face, Bools]]:
    """Kind, face, and which pixels of the photo are covered, of each cover that leaves a face."""
    image = load_image(path)
    (face,) = analyzer.analyze(image, select=select)
    yield 0, face, np.zeros(image.shape[:2], np.bool_)
    assert face.landmarks is not None
    drawn: list[UInt8] = []
    hidden: list[Bools] = []
    for name in (*KINDS[1:-1], other):
        result = occlude(name, image, face.landmarks, seed)
        drawn.append(result.image)
        hidden.append(result.covered)
    answers = analyzer.analyze_many(drawn, select=select)
    for kind, ((_, answer), covered) in enumerate(zip(answers, hidden, strict=True), start=1):
        if not isinstance(answer, FaceflowError):
            yield kind, answer[0], covered


def cell_shares(hidden: Bools, face: Face, layout: Template, grid: Grid) -> Float32:
    """(R,) share of each patch's cell that does not show the photo.

    Args:
        hidden: (H, W) pixels of the photo that are covered. What lies off the photo is black in
            the crop, so it counts as covered.
        face: where the crop was taken.
        layout: the crop's template.
        grid: (h, w) of the patches.
    """
    assert face.landmarks is not None
    height, width = layout.size
    crop = cv2.warpAffine(
        hidden.astype(np.float32),
        layout.transform(face.landmarks),
        (width, height),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(1.0,),
    )
    cells = cv2.resize(crop, grid[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(cells, dtype=np.float32).reshape(-1)
