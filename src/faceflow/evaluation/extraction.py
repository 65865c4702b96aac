"""From a photo of a data set to the features of the one face it is about, covered if asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faceflow import __version__
from faceflow.analyzer import Face, FaceAnalyzer, WholeImage
from faceflow.arrays import Float64, UInt8
from faceflow.errors import InputError, NoFaceError
from faceflow.evaluation.data import Photo
from faceflow.faces.alignment import align, template
from faceflow.faces.detectors import Detection
from faceflow.faces.images import load_image
from faceflow.faces.landmarks import landmark_share
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
        if self.cover != ALIGNED_CROP:
            return self._face(photo).features
        cut, points = self._window(photo)
        spec = self.analyzer.network.spec
        share = landmark_share(points, spec.input_size, spec.grid)
        return self.analyzer.embed(cut[None]).with_landmarks(share[None])

    def crop(self, photo: Photo) -> UInt8:
        """(H, W, 3) the aligned face as the network sees it.

        Raises:
            ImageError, NoFaceError: as for a call.
        """
        if self.cover != ALIGNED_CROP:
            return self._face(photo).crop
        return self._window(photo)[0]

    def _face(self, photo: Photo) -> Face:
        image = load_image(photo.image)
        if self.cover not in (CLEAN, ALIGNED_CROP):
            found = self.analyzer.detector.detect(image)
            if not found:
                raise NoFaceError("No face was found to cover")
            chosen = _choose(found, self.select, image)
            image = occlude(self.cover, image, chosen.landmarks, self.seed).image
        return self.analyzer.analyze(image, select=self.select, whole_image=self.whole_image)[0]

    def _window(self, photo: Photo) -> tuple[UInt8, Float64]:
        """The published crop, and the landmarks on it; some may lie outside.

        The whole face is not embedded on the way.
        """
        image = load_image(photo.image)
        found = [] if self.whole_image == "always" else self.analyzer.detector.detect(image)
        if found:
            chosen = _choose(found, self.select, image)
            layout = template(self.analyzer.network.spec.template)
            crop = align(image, chosen.landmarks, layout)
            points = chosen.landmarks if chosen.points is None else chosen.points
            points = _moved(points, layout.transform(chosen.landmarks))
        else:
            crop = self.analyzer.analyze(image, select=self.select, whole_image=self.whole_image)[
                0
            ].crop
            points = np.empty((0, 2))
        cut = random_crop(crop, seed=self.seed)
        return cut.image, _moved(points, cut.transform)


def _moved(points: Float64, matrix: Float64) -> Float64:
    """(P, 2) points carried by a (2, 3) matrix."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], dtype=np.float64)


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
