"""From a photo to faces with features: detect, align, embed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, NamedTuple, TypeVar

import cv2
import numpy as np
from PIL import Image

from faceflow.arrays import Float32, Float64, UInt8
from faceflow.errors import DeviceError, FaceflowError, InputError, NoFaceError, WeightsError
from faceflow.faces.alignment import Template, align, template
from faceflow.faces.detectors import DEFAULT as DEFAULT_DETECTOR
from faceflow.faces.detectors import Detection, Detector, check_detector, load_detector
from faceflow.faces.images import ImageSource, load_image, source_name
from faceflow.faces.landmarks import landmark_share
from faceflow.features import FaceFeatures, Grid, features_digest
from faceflow.networks import FaceNetwork, load_network
from faceflow.quality import Quality, measure
from faceflow.system.side_by_side import in_order
from faceflow.weights import calling_thread_alone
from faceflow.weights.session import physical_cores

Select = Literal["all", "largest", "centre"]
WholeImage = Literal["never", "fallback", "always"]
Source = TypeVar("Source", bound=ImageSource)
Item = TypeVar("Item")

_SELECTIONS = ("all", "largest", "centre")
_WHOLE_IMAGE = ("never", "fallback", "always")
# Answers that wait for whoever asked, for each thread: half a second's work, while he writes.
_AHEAD = 16
# A picture in memory counts for as many paths of pictures: two for each thread.
_HEAVY = 8


class NamedPhoto(NamedTuple):
    """A decoded photo, (H, W, 3) uint8 RGB, and what errors call it."""

    pixels: UInt8
    name: str


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
        among: how many faces were found in the photo, this one included; 0 when the whole image
            was taken.
    """

    box: Float64
    landmarks: Float64 | None
    score: float
    crop: UInt8
    features: FaceFeatures
    source: Literal["detected", "whole-image"]
    among: int = 1

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
    among: int

    def face(self, features: FaceFeatures) -> Face:
        known = features.with_landmarks(self.share[None])
        return Face(self.box, self.landmarks, self.score, self.crop, known, self.source, self.among)


_Found = list[_Pending] | FaceflowError
Answer = list[Face] | FaceflowError


class FaceAnalyzer:
    """Finds the faces of a photo and computes their features.

    Args:
        network: the face network; None loads the default one when first needed.
        detector: the face detector, or a name from :data:`faceflow.faces.detectors.DETECTORS`,
            loaded when first needed. A gallery remembers its detector: give the name in its
            header, ``gallery.header.detector``.
        threads: CPU threads for what is loaded here, and for :meth:`analyze_many`; None: as many as
            the network given was loaded for, else one per physical core.
        device: for what is loaded here: "cpu", "cuda" or "auto", see
            :func:`faceflow.weights.devices.resolve`.

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
        detector: Detector | str = DEFAULT_DETECTOR,
        *,
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        if isinstance(detector, str):
            check_detector(detector)
        self.detector_name = detector if isinstance(detector, str) else detector.name
        self._network = network
        self._detector = None if isinstance(detector, str) else detector
        self._threads = threads
        self._device = device

    @cached_property
    def network(self) -> FaceNetwork:
        """The face network."""
        return self._network or load_network(threads=self._threads, device=self._device)

    @cached_property
    def detector(self) -> Detector:
        """The face detector."""
        return self._detector or load_detector(
            self.detector_name, threads=self._threads, device=self._device
        )

    @property
    def digest(self) -> str:
        """What its features are made by, see :attr:`FaceFeatures.digest`."""
        network = self.network
        return features_digest(network.digest, self.detector_name, teacher=network.spec.teacher)

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
        return self._embedded(self._find(_read(image), select, whole_image))

    def analyze_many(
        self,
        images: Iterable[Source],
        *,
        select: Select = "all",
        whole_image: WholeImage = "never",
    ) -> Generator[tuple[Source, Answer], None, None]:
        """The faces of many photos, in order; a photo that fails gives its error and no more.

        Photos are looked at side by side, one on each of ``threads``, which run ahead of the
        answers: detector and network are called from several threads at once. What comes out for
        a photo is what :meth:`analyze` gives for it alone, to the last bit.

        Memory: a decoded photo for each thread, and 16 answers for each thread that wait to be
        taken (a crop and 50 KB of features a face, for the default network). Of images given as
        arrays, Pillow images or bytes two are taken ahead for each thread.

        Close the iterator, or read it to the end, and its threads are gone.

        Args:
            images: as for :meth:`analyze`; taken as needed, so a generator is fine.
            select, whole_image: as for :meth:`analyze`.

        Yields:
            Each source with its faces, or with the ImageError, NoFaceError or InputError it gave.

        Raises:
            WeightsError, DeviceError: no photo can be looked at.
        """
        return self.analyze_each(images, _read, select=select, whole_image=whole_image)

    def analyze_each(
        self,
        items: Iterable[Item],
        read: Callable[[Item], NamedPhoto],
        *,
        select: Select = "all",
        whole_image: WholeImage = "never",
    ) -> Generator[tuple[Item, Answer], None, None]:
        """:meth:`analyze_many` for anything that can be read into a photo.

        Args:
            items: taken on the caller's thread.
            read: called on one of many threads. A FaceflowError it raises is the item's answer.
            select, whole_image: as for :meth:`analyze`.
        """
        _check_options(select, whole_image)
        find = partial(self._read_and_find, read, select, whole_image)
        with calling_thread_alone():
            batch = self.network.batch_size
        threads = self._threads or self.network.threads or physical_cores()
        answers = self._each_by_itself if batch == 1 else partial(self._in_batches, batch)
        return answers(find, items, threads)

    def _each_by_itself(
        self, find: Callable[[Item], _Found], items: Iterable[Item], threads: int
    ) -> Generator[tuple[Item, Answer], None, None]:
        """Photo by photo: a thread does everything for its own."""

        def work(item: Item) -> Answer:
            with calling_thread_alone():
                found = find(item)
                return found if isinstance(found, FaceflowError) else self._embedded(found)

        return in_order(work, items, threads=threads, ahead=_AHEAD * threads, weight=_weight)

    def _in_batches(
        self,
        batch: int,
        find: Callable[[Item], _Found],
        items: Iterable[Item],
        threads: int,
    ) -> Generator[tuple[Item, Answer], None, None]:
        """Threads find the faces, and the caller's embeds those of some photos in one go."""

        def work(item: Item) -> _Found:
            with calling_thread_alone():
                return find(item)

        waiting: list[tuple[Item, _Found]] = []
        faces = 0
        ahead = max(_AHEAD * threads, 2 * batch)
        with closing(
            in_order(work, items, threads=threads, ahead=ahead, weight=_weight)
        ) as found_ones:
            for item, found in found_ones:
                waiting.append((item, found))
                faces += 0 if isinstance(found, FaceflowError) else len(found)
                # Also after so many photos without a face, so that they do not pile up.
                if max(faces, len(waiting)) >= batch:
                    yield from self._embed_waiting(waiting)
                    waiting, faces = [], 0
            yield from self._embed_waiting(waiting)

    def _embed_waiting(self, waiting: list[tuple[Item, _Found]]) -> Iterator[tuple[Item, Answer]]:
        faces = iter(
            self._embedded(
                [
                    one
                    for _, found in waiting
                    if not isinstance(found, FaceflowError)
                    for one in found
                ]
            )
        )
        for item, found in waiting:
            if isinstance(found, FaceflowError):
                yield item, found
            else:
                yield item, [next(faces) for _ in found]

    def _embedded(self, pending: list[_Pending]) -> list[Face]:
        if not pending:
            return []
        features = self.embed(np.stack([one.crop for one in pending]))
        return [one.face(features[n]) for n, one in enumerate(pending)]

    def _read_and_find(
        self,
        read: Callable[[Item], NamedPhoto],
        select: Select,
        whole_image: WholeImage,
        item: Item,
    ) -> _Found:
        """The faces of one photo that wait for their features, or what is wrong with the photo."""
        try:
            return self._find(read(item), select, whole_image)
        except (WeightsError, DeviceError):  # no other photo could be looked at either
            raise
        except FaceflowError as error:
            return error

    def _find(self, photo: NamedPhoto, select: Select, whole_image: WholeImage) -> list[_Pending]:
        image = photo.pixels
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
                    len(detections),
                )
                for d in _choose(detections, select, image)
            ]
        if whole_image == "never":
            raise NoFaceError(
                f"No face was found in {photo.name}",
                todo="use a photo that shows the face larger or sharper; if it is already cropped "
                "to the face, allow the whole image",
            )
        height, width = image.shape[:2]
        box = np.array([0, 0, width, height], dtype=np.float64)
        crop = fit(image, self.network.spec.input_size)
        none = np.zeros(int(np.prod(self.network.spec.grid)), np.float32)
        return [_Pending(box, None, 0.0, crop, "whole-image", none, 0)]


def _read(source: ImageSource) -> NamedPhoto:
    return NamedPhoto(load_image(source), source_name(source))


def _weight(item: object) -> int:
    return _HEAVY if isinstance(item, (bytes, np.ndarray, Image.Image)) else 1


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
