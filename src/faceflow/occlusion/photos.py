"""Cover or spoil photos on disk: new files beside nothing else, or one contact sheet."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceflow.arrays import Float64, UInt8
from faceflow.errors import FaceflowError, InputError, NoFaceError
from faceflow.faces.detectors import Detector
from faceflow.faces.images import iter_images, load_image
from faceflow.occlusion import alter, contact_sheet, needs_landmarks
from faceflow.occlusion.alterations import check_alterations
from faceflow.system.files import atomic_write

SHEET_COVERS = ("mask", "sunglasses", "crop", "hat", "scarf", "hand", "blob")
"""What a contact sheet shows unless told otherwise."""

# Endings that are kept; photos of other kinds are written as PNG.
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class Written:
    """One file written: ``cover`` applied to the photo ``source``."""

    source: Path
    cover: str
    path: Path


@dataclass(frozen=True, slots=True)
class Failed:
    """A photo that could not be covered, and why."""

    source: Path
    cover: str
    error: FaceflowError


def cover_photos(
    source: str | Path,
    target: str | Path,
    covers: Sequence[str],
    *,
    detector: Detector | None = None,
    seed: int = 0,
) -> Iterator[Written | Failed]:
    """Cover the largest face of a photo, or of each photo in a folder.

    A folder's photos are written to the same places below ``target`` as ``NAME_COVER.jpg``
    (the name rule that pairs them with their photos again, see
    :func:`faceflow.evaluation.data.edited.pair_by_name`). A single photo with one cover goes to
    ``target`` itself when that has a photo's ending. Files of these names are replaced; the
    pictures hold no metadata of the photo. Each photo's result depends on its pixels and the
    seed alone.

    Args:
        source: a photo or a folder.
        target: a folder, or a file for a single photo and cover.
        covers: names of :func:`faceflow.occlusion.alterations`.
        detector: finds the face; may be None when no cover needs landmarks.
        seed: of every draw.

    Yields:
        One result per photo and cover, as soon as the file is there.

    Raises:
        InputError: an unknown cover, no detector, no photo, or a target that would mix with
            or replace the photos.
        ImageError: the folder cannot be read.
        OSError: a file cannot be written.
    """
    check_alterations(list(covers))
    if not covers:
        raise InputError("no cover was named", todo="name at least one")
    _require_detector(covers, detector)
    photos, there = Path(source), Path(target)
    if photos.is_dir():
        if there.resolve() == photos.resolve():
            raise InputError(
                f"{there} is the folder of the photos",
                why="photos and covered copies would mix",
                todo="write to another folder",
            )
        found = iter_images(photos)
        if not found:
            raise InputError(f"There are no photos in {photos}", todo="give another folder")
        if there.is_file():
            raise InputError(f"{there} is a file", todo="name a folder for a folder of photos")
    else:
        found = [photos]
    return _run(photos, found, there, covers, detector, seed)


def _run(
    root: Path,
    found: Sequence[Path],
    target: Path,
    covers: Sequence[str],
    detector: Detector | None,
    seed: int,
) -> Iterator[Written | Failed]:
    for path in found:
        try:
            image = load_image(path)
        except FaceflowError as error:
            yield Failed(path, covers[0], error)
            continue
        landmarks: Float64 | NoFaceError | None = None
        if detector is not None and any(map(needs_landmarks, covers)):
            landmarks = _landmarks(path, image, detector)
        for cover in covers:
            if root.is_dir():
                place = target / path.relative_to(root).parent / _name(path, cover)
            elif len(covers) == 1 and target.suffix.lower() in _FORMATS:
                place = target
            else:
                place = target / _name(path, cover)
            try:
                if place.resolve() == path.resolve():
                    raise InputError(f"{place} is the photo itself", todo="write to another file")
                if isinstance(landmarks, NoFaceError):
                    if needs_landmarks(cover):
                        raise landmarks
                    done = alter(cover, image, None, seed)
                else:
                    done = alter(cover, image, landmarks, seed)
                _save_named(done, place)
            except FaceflowError as error:
                yield Failed(path, cover, error)
                continue
            yield Written(path, cover, place)


def _save_named(picture: UInt8, place: Path) -> None:
    """Save; a name that became too long concerns this photo alone, a full disk all."""
    try:
        _save(picture, place)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError(
            f"The name {place.name} is too long for the file system", todo="rename the photo"
        ) from error


def cover_sheet(
    photos: Sequence[str | Path],
    covers: Sequence[str] = SHEET_COVERS,
    *,
    detector: Detector | None = None,
    seed: int = 0,
    cell: int = 160,
) -> UInt8:
    """A contact sheet: a row per photo, as it is and under each cover.

    Args:
        photos: at least one.
        covers: names of :func:`faceflow.occlusion.alterations`.
        detector: as for :func:`cover_photos`.
        seed: of every draw.
        cell: side of each picture in pixels.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: a photo cannot be read.
        NoFaceError: a cover needs a face and a photo shows none.
        InputError: an unknown cover, no detector, or no photo.
    """
    check_alterations(list(covers))
    _require_detector(covers, detector)
    pictures: list[UInt8] = []
    labels: list[str] = []
    for path in map(Path, photos):
        image = load_image(path)
        landmarks: Float64 | None = None
        if detector is not None and any(map(needs_landmarks, covers)):
            seen = _landmarks(path, image, detector)
            if isinstance(seen, NoFaceError):
                raise seen
            landmarks = seen
        pictures += [image, *(alter(cover, image, landmarks, seed) for cover in covers)]
        labels += [path.name, *covers]
    return contact_sheet(pictures, len(covers) + 1, labels, cell=cell)


def save_picture(picture: UInt8, path: str | Path) -> None:
    """Write a picture without metadata; the file appears whole or not at all.

    Raises:
        InputError: an ending that is none of .jpg, .jpeg, .png, .webp.
        OSError: the file cannot be written.
    """
    place = Path(path)
    if place.suffix.lower() not in _FORMATS:
        raise InputError(
            f"{place} has no ending of a picture", todo=f"use one of {', '.join(_FORMATS)}"
        )
    _save(picture, place)


def _landmarks(path: Path, image: UInt8, detector: Detector) -> Float64 | NoFaceError:
    faces = detector.detect(image)
    if not faces:
        return NoFaceError(
            f"No face was found in {path}",
            todo="use a photo that shows the face larger or sharper",
        )
    return np.asarray(max(faces, key=lambda face: face.size).landmarks, dtype=np.float64)


def _require_detector(covers: Sequence[str], detector: Detector | None) -> None:
    drawn = next((cover for cover in covers if needs_landmarks(cover)), None)
    if detector is None and drawn is not None:
        raise InputError(f"{drawn} is drawn on a face", todo="give a detector to find it with")


def _name(path: Path, cover: str) -> str:
    # Another ending stays in the name, or a.heic and a.png would meet in one file.
    if path.suffix.lower() in _FORMATS:
        return f"{path.stem}_{cover}{path.suffix}"
    return f"{path.name}_{cover}.png"


def _save(picture: UInt8, path: Path) -> None:
    form = _FORMATS[path.suffix.lower()]
    buffer = io.BytesIO()
    quality = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    if form == "WEBP":
        quality = {"quality": 95}
    Image.fromarray(picture).save(buffer, form, **quality)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
