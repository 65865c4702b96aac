"""What the demo works on: which photos are enrolled, and which are covered and asked about."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import Float64, UInt8
from faceflow.enrolment import Listing, Photo, list_photos
from faceflow.errors import InputError, NoFaceError
from faceflow.images import load_image
from faceflow.occlusion import occlude, random_crop
from faceflow.synthetic import NOTICE, write_people

COVERS = ("mask", "sunglasses", "crop")
_EXIF_DESCRIPTION = 0x010E
# Half a side of the square around a face, in sides of the face: what a covered photo shows,
# and what a random crop is cut from.
_SHOWN, _CROPPED = 1.6, 0.85


@dataclass(frozen=True, slots=True)
class Material:
    """Photos by purpose.

    Attributes:
        listing: the photos to enroll, with those that belong to nobody.
        held_out: photos of enrolled people that are covered and asked about, not enrolled.
        strangers: photos of people who are not enrolled at all, to be covered and asked about.
    """

    listing: Listing
    held_out: tuple[Photo, ...]
    strangers: tuple[Photo, ...] = ()


def draw_material(folder: Path, *, people: int, strangers: int, seed: int) -> Material:
    """Draw made-up people: three photos of each, and one of people to be left out."""
    write_people(folder / "people", people=people, photos_each=3, seed=seed)
    apart: tuple[Photo, ...] = ()
    if strangers:
        write_people(
            folder / "strangers", people=strangers, photos_each=1, seed=seed + people, first_photo=2
        )
        apart = list_photos([folder / "strangers"]).photos
    material = split_photos(folder / "people")
    return Material(material.listing, material.held_out, apart)


def split_photos(folder: Path) -> Material:
    """Hold out the last photo of everyone with two or more; all other photos are enrolled.

    Raises:
        InputError: no photos, or nobody has two.
    """
    listing = list_photos([folder])
    by_person: dict[str, list[Photo]] = defaultdict(list)
    for photo in listing.photos:
        by_person[photo.person].append(photo)
    held_out = tuple(photos[-1] for photos in by_person.values() if len(photos) > 1)
    if not held_out:
        raise InputError(
            f"Nobody in {folder} has two photos",
            why="one is enrolled and another one covered and asked about",
            todo="add a second photo of some people",
        )
    kept = tuple(photo for photo in listing.photos if photo not in set(held_out))
    return Material(Listing(kept, listing.skipped), held_out)


def cover_photo(photo: Photo, cover: str, analyzer: FaceAnalyzer, *, seed: int) -> UInt8:
    """The largest face of a photo, covered, with its surroundings: (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the photo cannot be read.
        NoFaceError: the detector finds no face to cover.
    """
    image = load_image(photo.path)
    found = analyzer.detector.detect(image)
    if not found:
        raise NoFaceError(f"No face was found in {photo.path}, so none could be covered")
    face = max(found, key=lambda detection: detection.size)
    if cover == "crop":
        # The published crop cuts a face; of a whole photo it would mostly cut background.
        return random_crop(_around(image, face.box, _CROPPED)[0], seed=seed).image
    part, corner = _around(image, face.box, _SHOWN)
    return occlude(cover, part, face.landmarks - corner, seed).image


def _around(image: UInt8, box: Float64, reach: float) -> tuple[UInt8, Float64]:
    """A square around a face, as far as the photo goes, and its corner (x, y) in the photo.

    ``reach`` is half the square's side, in larger sides of the face's box.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    half = reach * max(x1 - x0, y1 - y0)
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.rint(middle - half), 0, limit - 1).astype(int)
    high = np.clip(np.rint(middle + half), low + 1, limit).astype(int)
    part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    return part, low.astype(np.float64)


def as_jpeg(image: UInt8, *, synthetic: bool) -> bytes:
    """JPEG bytes; a drawn face says so in its metadata."""
    exif = Image.Exif()
    if synthetic:
        exif[_EXIF_DESCRIPTION] = NOTICE
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()
