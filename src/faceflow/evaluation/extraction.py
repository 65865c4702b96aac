"""From a photo of a data set to the features of the one face it is about, covered if asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faceflow import __version__
from faceflow.analyzer import Face, FaceAnalyzer, WholeImage
from faceflow.arrays import UInt8
from faceflow.errors import InputError, NoFaceError
from faceflow.evaluation.data import Photo
from faceflow.faces.detectors import Detection
from faceflow.faces.images import load_image
from faceflow.features import FaceFeatures
from faceflow.occlusion import occlude, occlusions, random_crop

CLEAN = "clean"
ALIGNED_CROP = "aligned-crop"
"""The published crop: a random 70% window of the *aligned* face, enlarged back."""

OneFace = Literal["largest", "centre"]

# Raise when what is computed changes; a store of another number is not used.
_FORMAT = 1


def covers() -> tuple[str, ...]:
    """Everything a query can be drawn as: "clean", the occlusions, and the published crop."""
    return (CLEAN, *occlusions(), ALIGNED_CROP)


@dataclass(frozen=True)
class Extractor:
    """How photos become features.

    Attributes:
        analyzer: detector and network.
        cover: one of :func:`covers`; drawn on the photo before detection, except the published
            crop, which is cut from the aligned face.
        seed: of the cover.
        select: which face of several a photo is about.
        whole_image: whether a photo without a detected face is taken for the face itself.
    """

    analyzer: FaceAnalyzer
    cover: str = CLEAN
    seed: int = 0
    select: OneFace = "centre"
    whole_image: WholeImage = "never"

    def __post_init__(self) -> None:
        if self.cover not in covers():
            raise InputError(
                f"queries cannot be drawn as {self.cover!r}",
                todo=f"choose one of {', '.join(covers())}",
            )

    @property
    def digest(self) -> str:
        """Hex sha256 of everything the features depend on besides the photo."""
        fields = {
            "format": _FORMAT,
            "faceflow": __version__,
            "network": self.analyzer.network.digest,
            "detector": self.analyzer.detector.name,
            "cover": self.cover,
            "seed": 0 if self.cover == CLEAN else self.seed,
            "select": self.select,
            "whole_image": self.whole_image,
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @property
    def features_digest(self) -> str:
        """What made the features, see :attr:`faceflow.features.FaceFeatures.digest`."""
        return self.analyzer.digest

    def __call__(self, photo: Photo) -> FaceFeatures:
        """Features of one face.

        Raises:
            ImageError: the photo cannot be read.
            NoFaceError: no face was found, on the photo or on the covered photo.
        """
        face = self._face(photo)
        if self.cover != ALIGNED_CROP:
            return face.features
        return self.analyzer.embed(self._cut(face)[None])

    def crop(self, photo: Photo) -> UInt8:
        """(H, W, 3) the aligned face as the network sees it.

        Raises:
            ImageError, NoFaceError: as for a call.
        """
        face = self._face(photo)
        return face.crop if self.cover != ALIGNED_CROP else self._cut(face)

    def _face(self, photo: Photo) -> Face:
        image = load_image(photo.image)
        if self.cover not in (CLEAN, ALIGNED_CROP):
            found = self.analyzer.detector.detect(image)
            if not found:
                raise NoFaceError("No face was found to cover")
            chosen = _choose(found, self.select, image)
            image = occlude(self.cover, image, chosen.landmarks, self.seed).image
        return self.analyzer.analyze(image, select=self.select, whole_image=self.whole_image)[0]

    def _cut(self, face: Face) -> UInt8:
        return random_crop(face.crop, seed=self.seed).image


def _choose(found: list[Detection], select: OneFace, image: UInt8) -> Detection:
    """The face a photo is about, by the analyzer's own rule."""
    if select == "largest":
        return max(found, key=lambda face: face.size)
    middle = np.array(image.shape[1::-1]) / 2
    return min(
        found,
        key=lambda face: (
            float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - middle)) / face.size
        ),
    )
