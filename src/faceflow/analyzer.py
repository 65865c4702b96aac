"""From a photo to faces with features: detect, align, embed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import cv2
import numpy as np

from faceflow.arrays import Float32, Float64, UInt8
from faceflow.errors import FaceflowError, InputError, NoFaceError
from faceflow.faces.alignment import Template, align, template
from faceflow.faces.detectors import DEFAULT as DEFAULT_DETECTOR
from faceflow.faces.detectors import (
    Detection,
    Detector,
    alignment_of,
    check_alignment,
    load_detector,
)
from faceflow.faces.images import ImageSource, load_image, source_name
from faceflow.faces.landmarks import landmark_share
from faceflow.features import FaceFeatures, Grid, features_digest
from faceflow.networks import FaceNetwork, load_network
from faceflow.quality import Quality, measure

Select = Literal["all", "largest", "centre"]
WholeImage = Literal["never", "fallback", "always"]
Source = TypeVar("Source", bound=ImageSource)

_SELECTIONS = ("all", "largest", "centre")
_WHOLE_IMAGE = ("never", "fallback", "always")


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face of a photo.

    Attributes:
        box: (4,) float64 x0, y0, x1, y1 in pixels of the photo.
        landmarks: (5, 2) float64 left eye, right eye, nose, left and right mouth corner, or
            None when the whole image was taken for the face.
        score: the detector's confidence in (0, 1]; 0 when the whole image was taken.
        crop: (H, W, 3) uint8 RGB, aligned as the network wants it.
        features: features of this one face, with the share of its landmarks in each patch: of
            all landmarks the detector finds, and zeros when the whole image was taken.
        source: "detected", or "whole-image" when no detector vouches for it.
    """

    box: Float64
    landmarks: Float64 | None
    score: float
    crop: UInt8
    features: FaceFeatures
    source: Literal["detected", "whole-image"]

    @property
    def quality(self) -> Quality:
        """How much the face gives to go by; ``visible`` where its features say it."""
        length, shown = self.features.length, self.features.visibility
        return measure(
            self.crop,
            self.box,
            self.landmarks,
            detection=self.score if self.source == "detected" else None,
            length=None if length is None else float(length[0]),
            visible=None if shown is None else float(shown.mean()),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A face that waits for its features; the fields are those of :class:`Face`."""

    box: Float64
    landmarks: Float64 | None
    score: float
    crop: UInt8
    source: Literal["detected", "whole-image"]
    share: Float32

    def face(self, features: FaceFeatures) -> Face:
        known = features.with_landmarks(self.share[None])
        return Face(self.box, self.landmarks, self.score, self.crop, known, self.source)


class FaceAnalyzer:
    """Finds the faces of a photo and computes their features.

    Args:
        network: the face network; None loads the default one when first needed.
        detector: the face detector; None loads the one of ``alignment`` when first needed.
        alignment: whose landmarks align the face, a name from
            :data:`faceflow.faces.detectors.ALIGNMENTS`; for a detector given, it follows from it.
        threads: CPU threads for what is loaded here; None: one per physical core.

    Examples:
        >>> import faceflow
        >>> from faceflow.demo import PEOPLE
        >>> face = faceflow.FaceAnalyzer().analyze(PEOPLE / "Ada" / "Ada_0001.jpg")[0]
        >>> face.source, face.features.grid
        ('detected', (8, 8))
    """

    def __init__(
        self,
        network: FaceNetwork | None = None,
        detector: Detector | None = None,
        *,
        alignment: str | None = None,
        threads: int | None = None,
    ) -> None:
        own = None if detector is None else alignment_of(detector)
        if alignment is not None and own is not None and alignment != own:
            raise InputError(
                f"the detector {detector.name if detector else ''} aligns as {own}, "
                f"not as {alignment}",
                todo="give a detector or an alignment, not both",
            )
        self.alignment = own or alignment or DEFAULT_DETECTOR
        if own is None:
            check_alignment(self.alignment)
        self._network = network
        self._detector = detector
        self._threads = threads

    @cached_property
    def network(self) -> FaceNetwork:
        """The face network."""
        return self._network or load_network(threads=self._threads)

    @cached_property
    def detector(self) -> Detector:
        """The face detector."""
        return self._detector or load_detector(self.alignment, threads=self._threads)

    @property
    def digest(self) -> str:
        """What its features are made by, see :attr:`FaceFeatures.digest`."""
        return features_digest(self.network.digest, self.alignment)

    def embed(self, crops: UInt8) -> FaceFeatures:
        """Features of crops (N, H, W, 3) that were aligned as this analyzer does."""
        return self.network.embed(crops).as_from(self.digest)

    def analyze(
        self, image: ImageSource, *, select: Select = "all", whole_image: WholeImage = "never"
    ) -> list[Face]:
        """The faces of one photo.

        Args:
            image: path, bytes, PIL image, or (H, W, 3) uint8 RGB array.
            select: "all" (best score first), "largest", or "centre": the face nearest to the
                middle of the photo, counted in sides of its own box, so that a large face a
                little off beats a small one behind it.
            whole_image: "fallback" takes the whole image for the face when none is found,
                "always" does not look for one; both are for photos already cropped to a face,
                and the result's ``source`` says so.

        Returns:
            At least one face.

        Raises:
            ImageError: the photo cannot be read.
            NoFaceError: no face was found.
            InputError: an unknown ``select`` or ``whole_image``.
        """
        _check_options(select, whole_image)
        pending = self._find(image, select, whole_image)
        features = self.embed(np.stack([one.crop for one in pending]))
        return [one.face(features[n]) for n, one in enumerate(pending)]

    def analyze_many(
        self,
        images: Iterable[Source],
        *,
        select: Select = "all",
        whole_image: WholeImage = "never",
        batch_size: int = 8,
    ) -> Iterator[tuple[Source, list[Face] | FaceflowError]]:
        """The faces of many photos, in order; a photo that fails gives its error and no more.

        Args:
            images: as for :meth:`analyze`; taken one by one, so a generator is fine.
            select, whole_image: as for :meth:`analyze`.
            batch_size: faces embedded in one go. Memory holds about that many crops.

        Yields:
            Each source with its faces, or with the ImageError or NoFaceError it gave.
        """
        _check_options(select, whole_image)
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}", todo="give 1 or more")
        waiting: list[tuple[Source, list[_Pending] | FaceflowError]] = []
        faces = 0
        for image in images:
            try:
                found: list[_Pending] | FaceflowError = self._find(image, select, whole_image)
            except FaceflowError as error:
                found = error
            waiting.append((image, found))
            faces += 0 if isinstance(found, FaceflowError) else len(found)
            # Also after so many photos without a face, so that they do not pile up.
            if max(faces, len(waiting)) >= batch_size:
                yield from self._embed(waiting)
                waiting, faces = [], 0
        yield from self._embed(waiting)

    def _embed(
        self, waiting: list[tuple[Source, list[_Pending] | FaceflowError]]
    ) -> Iterator[tuple[Source, list[Face] | FaceflowError]]:
        crops = [
            one.crop
            for _, found in waiting
            if not isinstance(found, FaceflowError)
            for one in found
        ]
        features = iter(self.embed(np.stack(crops)) if crops else ())
        for image, found in waiting:
            if isinstance(found, FaceflowError):
                yield image, found
            else:
                yield image, [one.face(next(features)) for one in found]

    def _find(self, source: ImageSource, select: Select, whole_image: WholeImage) -> list[_Pending]:
        image = load_image(source)
        detections = [] if whole_image == "always" else self.detector.detect(image)
        aligned_to = template(self.network.spec.template)
        if detections:
            grid = self.network.spec.grid
            return [
                _Pending(
                    d.box,
                    d.landmarks,
                    d.score,
                    align(image, d.landmarks, aligned_to),
                    "detected",
                    _share(d, aligned_to, grid),
                )
                for d in _choose(detections, select, image)
            ]
        if whole_image == "never":
            raise NoFaceError(
                f"No face was found in {source_name(source)}",
                todo="use a photo that shows the face larger or sharper; if it is already cropped "
                "to the face, allow the whole image",
            )
        height, width = image.shape[:2]
        box = np.array([0, 0, width, height], dtype=np.float64)
        crop = fit(image, self.network.spec.input_size)
        none = np.zeros(int(np.prod(self.network.spec.grid)), np.float32)
        return [_Pending(box, None, 0.0, crop, "whole-image", none)]


def _share(found: Detection, aligned_to: Template, grid: Grid) -> Float32:
    """The shares of all landmarks the detector found, carried into the crop as the pixels are."""
    points = found.landmarks if found.points is None else found.points
    matrix = aligned_to.transform(found.landmarks)
    return landmark_share(points @ matrix[:, :2].T + matrix[:, 2], aligned_to.size, grid)


def fit(image: UInt8, size: tuple[int, int]) -> UInt8:
    """Scale a whole image into (H, W) without distorting it; its border fills what is left."""
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    inner = cv2.resize(
        image, small, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    top, left = (size[0] - small[1]) // 2, (size[1] - small[0]) // 2
    return np.asarray(
        cv2.copyMakeBorder(
            inner,
            top,
            size[0] - small[1] - top,
            left,
            size[1] - small[0] - left,
            cv2.BORDER_REPLICATE,
        ),
        dtype=np.uint8,
    )


def _choose(detections: list[Detection], select: Select, image: UInt8) -> list[Detection]:
    if select == "all":
        return detections
    if select == "largest":
        return [max(detections, key=lambda d: d.size)]
    centre = np.array([image.shape[1], image.shape[0]]) / 2

    def distance(found: Detection) -> float:
        middle = (found.box[:2] + found.box[2:]) / 2
        return float(np.linalg.norm(middle - centre)) / found.size

    return [min(detections, key=distance)]


def _check_options(select: str, whole_image: str) -> None:
    if select not in _SELECTIONS:
        raise InputError(f"select is {select!r}", todo=f"choose one of {', '.join(_SELECTIONS)}")
    if whole_image not in _WHOLE_IMAGE:
        raise InputError(
            f"whole_image is {whole_image!r}", todo=f"choose one of {', '.join(_WHOLE_IMAGE)}"
        )
