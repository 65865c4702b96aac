"""From photos to features of every stratum: as they are, under drawn covers, under real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from faceflow.analyzer import Face, FaceAnalyzer
from faceflow.arrays import Float64, UInt8
from faceflow.errors import FaceflowError, InputError, NoFaceError
from faceflow.evaluation.data import LeftOut, Photo
from faceflow.faces.images import load_image
from faceflow.features import FaceFeatures
from faceflow.gallery.thumbnail import thumbnail
from faceflow.occlusion import alter
from faceflow.occlusion.alterations import check_alterations
from faceflow.quality import Quality

CLEAN = "clean"
Progress = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""

# Half the side of the square that is covered, in sides of the face box: about what LFW shows
# around a face, so that a random crop means what it means there.
_REACH = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Faces to search with.

    Attributes:
        photos: one per face; ``condition`` is its stratum, and edits of one photo share its
            source id.
        features: of the faces, in that order.
        pictures: source id -> small JPEG of the aligned face as it is.
        left_out: photos that gave nothing.
        unseen: stratum -> photos whose face was no longer found under the cover.
        quality: of the faces, in the order of ``photos``; ``visible`` is not known yet.
    """

    photos: tuple[Photo, ...]
    features: FaceFeatures
    pictures: Mapping[str, bytes]
    left_out: tuple[LeftOut, ...]
    unseen: Mapping[str, int]
    quality: tuple[Quality, ...] = ()


def check_covers(covers: Sequence[str], others: Iterable[str]) -> None:
    """Raise InputError for a cover nobody can draw, or a stratum named twice or not at all."""
    check_alterations([name for name in covers if name != CLEAN])
    strata = [*covers, *others]
    twice = [name for name, times in Counter(strata).items() if times > 1 or not name]
    if not strata or twice:
        raise InputError(
            f"the strata are {', '.join(strata) or 'none'}",
            why="each needs a name of its own, and there must be one",
            todo="name real covers apart from drawn ones: --real my-masks=FOLDER",
        )


def gather(
    photos: Sequence[Photo],
    analyzer: FaceAnalyzer,
    *,
    covers: Sequence[str],
    real: Mapping[str, Sequence[Photo]],
    seed: int = 0,
    progress: Progress | None = None,
) -> Material:
    """Analyze photos, and again with each cover drawn on them.

    A covered photo goes through detection anew, as it would in use; when its face is no longer
    found it is counted in ``unseen`` and searches for nobody. Memory holds about 70 KB a face
    with the default network.

    Args:
        photos: the people's photos as they are; they make the stratum "clean" whether or not
            it is among ``covers`` (a gallery may have to be made of them).
        analyzer: finds and describes faces.
        covers: names of strata to draw; "clean" draws nothing.
        real: stratum -> photos of people with real covers.
        seed: of the covers.
        progress: told after each photo.

    Raises:
        InputError: no photo shows a face.
    """
    found: list[Photo] = []
    features: list[FaceFeatures] = []
    quality: list[Quality] = []
    pictures: dict[str, bytes] = {}
    left_out: list[LeftOut] = []
    unseen: Counter[str] = Counter()
    drawn = [name for name in covers if name != CLEAN]
    todo = [(photo, CLEAN) for photo in photos]
    todo += [(photo, name) for name, some in real.items() for photo in some]
    for done, (photo, stratum) in enumerate(todo, start=1):
        try:
            image = load_image(photo.image)
            (face,) = analyzer.analyze(image, select="largest")
        except NoFaceError:
            left_out.append(LeftOut(photo.path, "no face was found"))
        except FaceflowError as error:
            left_out.append(LeftOut(photo.path, error.what))
        else:
            found.append(replace(photo, condition=stratum))
            features.append(face.features)
            quality.append(face.quality)
            pictures.setdefault(photo.source_id, thumbnail(face.crop))  # an edit comes later
            if stratum == CLEAN:
                for name, hidden in _covered(image, face, drawn, analyzer, seed):
                    if hidden is None:
                        unseen[name] += 1
                        continue
                    found.append(replace(photo, condition=name))
                    features.append(hidden.features)
                    quality.append(hidden.quality)
        if progress is not None:
            progress(done, len(todo))
    if not found:
        raise InputError(
            f"no face was found in any of {len(todo):,} photos", todo="give photos of faces"
        )
    return Material(
        tuple(found),
        FaceFeatures.concatenate(features),
        pictures,
        tuple(left_out),
        dict(unseen),
        tuple(quality),
    )


def _covered(
    image: UInt8, face: Face, covers: Sequence[str], analyzer: FaceAnalyzer, seed: int
) -> Iterable[tuple[str, Face | None]]:
    """The face again under each cover; None where it is no longer found."""
    if face.landmarks is None or not covers:
        return []
    part, landmarks = surroundings(image, face.box, face.landmarks)
    hidden = [alter(name, part, landmarks, seed) for name in covers]
    answers = [answer for _, answer in analyzer.analyze_many(hidden, select="largest")]
    return [
        (name, None if isinstance(answer, FaceflowError) else answer[0])
        for name, answer in zip(covers, answers, strict=True)
    ]


def surroundings(image: UInt8, box: Float64, landmarks: Float64) -> tuple[UInt8, Float64]:
    """The part of a photo around one face, and the landmarks in it."""
    height, width = image.shape[:2]
    reach = _REACH * float(max(box[2] - box[0], box[3] - box[1]))
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x0, y0 = (int(np.clip(v - reach, 0, None)) for v in (x, y))
    x1, y1 = min(width, int(np.ceil(x + reach))), min(height, int(np.ceil(y + reach)))
    if x1 - x0 < 2 or y1 - y0 < 2:  # a box off the photo: take all of it
        return image, landmarks
    return np.ascontiguousarray(image[y0:y1, x0:x1]), landmarks - np.array([x0, y0])
