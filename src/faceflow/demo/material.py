"""What the demo works on: which photos are enrolled, and which are covered and asked about."""

from __future__ import annotations

import io
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import Float64, UInt8
from faceflow.demo.shipped import PEOPLE, QUERIES, shown_in
from faceflow.errors import InputError, NoFaceError
from faceflow.faces.images import load_image
from faceflow.gallery.enrolment import Listing, Photo, list_photos
from faceflow.occlusion import occlude, random_crop

COVERS = ("mask", "sunglasses", "crop")
# Half a side of the square around a face, in sides of the face: what a covered photo shows,
# and what a random crop is cut from.
_SHOWN, _CROPPED = 1.6, 0.85


@dataclass(frozen=True, slots=True)
class Query:
    """A photo to ask about.

    Attributes:
        photo: the photo, and whom it really shows.
        cover: what covers the face.
        enrolled: whether that person is enrolled.
        covered: whether the photo is covered already; if not, the demo covers it.
    """

    photo: Photo
    cover: str
    enrolled: bool = True
    covered: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """Photos by purpose.

    Attributes:
        listing: the photos to enroll, with those that belong to nobody.
        queries: other photos, to be asked about.
    """

    listing: Listing
    queries: tuple[Query, ...]


def shipped_photos(folder: Path, *, people: int, strangers: int) -> Material:
    """Copy the shipped pictures of so many people, and queries of them and of strangers.

    They are copied so that what the demo leaves behind is whole: its photos can be enrolled
    and asked about again from the command line.
    """
    enrolled = sorted(path.name for path in PEOPLE.iterdir())[:people]
    known = {path.name for path in PEOPLE.iterdir()}
    for name in enrolled:
        shutil.copytree(PEOPLE / name, folder / "people" / name)
    queries = sorted(QUERIES.glob("*.jpg"))
    asked = [path for path in queries if shown_in(path)[0] in enrolled]
    asked += [path for path in queries if shown_in(path)[0] not in known][:strangers]
    (folder / "queries").mkdir()
    found = []
    for path in asked:
        person, cover = shown_in(path)
        copy = Path(shutil.copy(path, folder / "queries"))
        found.append(Query(Photo(copy, person), cover, person in known, covered=True))
    return Material(list_photos([folder / "people"]), tuple(found))


def split_photos(folder: Path) -> Material:
    """Hold out the last photo of everyone with two or more; all other photos are enrolled.

    The photos held out are the queries, to be covered by each cover in turn.

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
    queries = tuple(
        Query(photo, COVERS[place % len(COVERS)]) for place, photo in enumerate(held_out)
    )
    return Material(Listing(kept, listing.skipped), queries)


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


def as_jpeg(image: UInt8) -> bytes:
    """The image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
