"""Aligned face crops of people's photos, computed once, covered anew whenever they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.arrays import Float32, Int64, UInt8
from faceflow.errors import FaceflowError, NoFaceError
from faceflow.faces.alignment import align, template
from faceflow.faces.detectors import Detector
from faceflow.faces.images import content_hash, load_image
from faceflow.gallery.enrolment import Photo, SelectOne
from faceflow.networks import NetworkSpec
from faceflow.networks.runtime import scale_crops
from faceflow.occlusion import occlude
from faceflow.training.array_cache import ArrayCache
from faceflow.training.samples import CLEAN, LeftOut, Progress, find_face


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """N aligned faces.

    Attributes:
        arrays: (M,) structured, M >= N, maybe memory-mapped: ``crop`` (H, W, 3) uint8 RGB and
            ``landmarks`` (5, 2) float32 in pixels of the crop.
        row: (N,) each face's place in ``arrays``.
        person: (N,) each face's person, an index into ``names``.
        names: the people.
        spec: the network they are aligned for.
    """

    arrays: NDArray[Any]
    row: Int64
    person: Int64
    names: tuple[str, ...]
    spec: NetworkSpec

    def __len__(self) -> int:
        return len(self.row)

    def crop(self, index: int, cover: str = CLEAN, seed: int = 0) -> UInt8:
        """(H, W, 3) one face, clean or covered; the same arguments give the same pixels."""
        entry = self.arrays[self.row[index]]
        crop = np.array(entry["crop"])
        if cover == CLEAN:
            return crop
        landmarks = np.asarray(entry["landmarks"], dtype=np.float64)
        return occlude(cover, crop, landmarks, seed).image

    def scaled(self, index: int, cover: str = CLEAN, seed: int = 0) -> Float32:
        """(channels, H, W) the same as the network sees it."""
        result: Float32 = scale_crops(self.spec, self.crop(index, cover, seed)[None])[0]
        return result


def crop_type(spec: NetworkSpec) -> np.dtype[Any]:
    """The element type of :attr:`Crops.arrays`."""
    return np.dtype([("crop", "u1", (*spec.input_size, 3)), ("landmarks", "<f4", (5, 2))])


def collect_crops(
    photos: Sequence[Photo],
    spec: NetworkSpec,
    detector: Detector,
    folder: Path,
    *,
    select: SelectOne = "largest",
    progress: Progress | None = None,
) -> tuple[Crops, tuple[LeftOut, ...]]:
    """Find and align the face of each photo, once; a second call finds it in the cache.

    Unlike :func:`faceflow.training.samples.collect_samples`, covers are drawn on the aligned
    crop later, at every showing anew, so a cover cannot mislead the detector.

    Args:
        photos: with their people.
        spec: of the network the crops are for.
        detector: finds the faces.
        folder: of the cache.
        select: which face of a photo with several.
        progress: told after each photo.

    Raises:
        FaceflowError: the cache cannot be used.
    """
    kind = crop_type(spec)
    identity = f"crops {spec.template} {spec.input_size} {detector.name} {select}"
    cache = ArrayCache(folder, kind, identity=identity)
    known = cache.rows()
    found: list[tuple[str, int]] = []
    left_out: list[LeftOut] = []
    names = tuple(sorted({photo.person for photo in photos}))
    code = {name: number for number, name in enumerate(names)}
    seen: set[tuple[str, str]] = set()
    for done, photo in enumerate(photos, start=1):
        try:
            key = content_hash(photo.path)
            if (photo.person, key) not in seen:
                seen.add((photo.person, key))
                if key not in known:
                    entry = _entry(photo.path, spec, detector, select, kind)
                    cache.add([(key, entry)])
                    known[key] = None if entry is None else -1
                if known[key] is None:
                    raise NoFaceError(f"No face was found in {photo.path}")
                found.append((key, code[photo.person]))
        except FaceflowError as error:
            left_out.append(LeftOut(photo.path, CLEAN, error))
        if progress is not None:
            progress(done, len(photos))
    rows = cache.rows()
    row = np.array([rows[key] for key, _ in found], np.int64)
    person = np.array([person for _, person in found], np.int64)
    return Crops(cache.arrays(), row, person, names, spec), tuple(left_out)


def _entry(
    path: Path, spec: NetworkSpec, detector: Detector, select: SelectOne, kind: np.dtype[Any]
) -> NDArray[Any] | None:
    image, target = load_image(path), template(spec.template)
    face = find_face(image, detector, select)
    if face is None:
        return None
    entry = np.zeros((), kind)
    entry["crop"] = align(image, face.landmarks, target)
    onto = target.transform(face.landmarks)  # (2, 3): photo to crop
    entry["landmarks"] = face.landmarks @ onto[:, :2].T + onto[:, 2]
    return entry
