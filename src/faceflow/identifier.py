"""The everyday object: a gallery, the network and detector it belongs to, and how to compare.

Examples:
    >>> import tempfile
    >>> from faceflow import Identifier
    >>> from faceflow.demo import PEOPLE, QUERIES  # drawn people, who are not real
    >>> with Identifier(f"{tempfile.mkdtemp()}/people.faceflow") as people:
    ...     report = people.enroll(PEOPLE)
    ...     for face in people.identify(QUERIES / "Ada-mask.jpg"):
    ...         print(face.status, face.people[0].person, face.people[0].rank)
    ranked Ada 1
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, Unpack

import numpy as np
from PIL import Image

from faceflow import models, networks
from faceflow.analyzer import Face, FaceAnalyzer, Select, Source, WholeImage
from faceflow.errors import FaceflowError, GalleryError, InputError
from faceflow.faces import detectors
from faceflow.faces.detectors import Detector
from faceflow.faces.images import ImageSource, content_hash, source_name
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import (
    Change,
    Enrolment,
    Gallery,
    GalleryLocation,
    PersonInfo,
    person_name,
    require_query_network,
)
from faceflow.gallery.enrolment import (
    EnrolmentReport,
    Listing,
    PhotoOutcome,
    Progress,
    SelectOne,
    enroll_photos,
    list_photos,
)
from faceflow.matching.abstaining import abstain, quality_of
from faceflow.matching.identification import identify
from faceflow.matching.options import Changes, MatchOptions, options_for
from faceflow.matching.transport import Sinkhorn
from faceflow.matching.verification import verify
from faceflow.networks import FaceNetwork
from faceflow.quality import BANDS, Band
from faceflow.results import ComparedFaces, FoundFace
from faceflow.weights import pytorch
from faceflow.weights.devices import Device, resolve

_LOG = logging.getLogger("faceflow")


class Identifier:
    """Enroll people, and find out who is in photos.

    The network and the detector are loaded when the first photo is looked at, and then kept.
    A gallery that exists says which it needs; one that does not is made by the first
    :meth:`enroll`, for ``network`` and ``detector``. Weights that are missing are fetched by
    your package client, with a line in the log ("faceflow") that names their terms.

    Memory: the network, the detector and the libraries that run them (some 240 MB for the
    default ones), 4 bytes times the embedding's length for each enrolled face from the first
    identification on, and a few photos at a time. One object may serve several threads; after a
    fork, make a new one. Close it, or use it in a ``with`` block.

    Args:
        gallery: the gallery's file, by custom ``*.faceflow``; an open gallery, which is closed
            together with this; None to compare photos with each other alone (:meth:`verify`).
        network: name of a face network, or a loaded one; default: the gallery's own, and
            "lightcnn-v4" for a new one.
        detector: name of a detector, or a loaded one; likewise.
        query_network: name of a student of the gallery's network, or a loaded one: it looks at
            photos that are asked about (:meth:`identify`, the first of :meth:`verify`), and the
            gallery's own network at those that are enrolled. See ``faceflow train covers``.
        options: how faces are compared; default: as the gallery was calibrated, else what
            measured best for its network. See :meth:`options`.
        threshold: the least score that counts as identified; None takes the calibrated one where
            it holds, else people are ranked and nothing is decided.
        best_faces: score a person by the mean of this many of their best faces.
        min_quality: the worst :class:`faceflow.quality.Quality` band that is answered: "fair"
            says "unsure" of poor faces, "good" of fair ones too, "poor" of none; default: as the
            gallery says, which is of none unless somebody set it.
        threads: CPU threads for finding, embedding and comparing faces, by what is loaded here;
            None: one per physical core. No result depends on it.
        device: where the network and detector loaded here run, the gallery is searched and faces
            are ranked: "cpu", "cuda" ("cuda:1", ...), "mps", or "auto", which takes cuda where it
            works and tells the log ("faceflow") what it took and why; default: the environment
            variable FACEFLOW_DEVICE, and cpu without it. The CPU scores again what is answered.
        readonly: never write to the gallery; it must exist.
        offline: fetch no weights; the environment variable FACEFLOW_OFFLINE does the same.
        codec: how a new gallery keeps patches, see :meth:`faceflow.Gallery.open_or_create`.
        thumbnails: whether a new gallery keeps small face pictures.
        tell: told, in a line each, which weights are fetched; None: the log.

    Raises:
        GalleryError: the gallery is damaged, or in use, or missing with ``readonly``.
        GalleryMismatchError: it was made for another network, or aligned by another detector.
        InputError: an unknown network, detector or device, or an option out of range.
        DeviceError: the device is not there; the error names what is missing.
    """

    def __init__(
        self,
        gallery: str | Path | GalleryLocation | Gallery | None = None,
        *,
        network: str | FaceNetwork | None = None,
        detector: str | Detector | None = None,
        query_network: str | FaceNetwork | None = None,
        options: MatchOptions | None = None,
        threshold: float | None = None,
        best_faces: int = 1,
        min_quality: Band | None = None,
        threads: int | None = None,
        device: str | None = None,
        readonly: bool = False,
        offline: bool = False,
        codec: Literal["int8", "float32", "none"] = "int8",
        thumbnails: bool = True,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        place = gallery.location if isinstance(gallery, Gallery) else gallery
        self.location = (
            place if place is None or isinstance(place, GalleryLocation) else GalleryLocation(place)
        )
        self._codec = codec
        self._thumbnails = thumbnails
        self._tell = tell or _LOG.warning
        self._given_options = options
        self._threshold = threshold
        self._best_faces = best_faces
        self._min_quality = min_quality
        self._threads = threads
        self._device = resolve(device)
        self._readonly = readonly
        self._offline = offline or _offline_by_environment()
        self._lock = threading.RLock()
        self._closed = False
        self._analyzer: FaceAnalyzer | None = None
        self._query_analyzer: FaceAnalyzer | None = None
        self._network = network
        self._query_network = query_network
        self._detector = detector
        self._gallery: Gallery | None = None
        if best_faces < 1:
            raise InputError(f"best_faces is {best_faces}", why="a person needs at least one face")
        if min_quality is not None and min_quality not in BANDS:
            raise InputError(f"min_quality is {min_quality!r}", todo="choose good, fair or poor")
        if isinstance(network, str):
            networks.spec(network)  # an unknown name is told now
        if isinstance(query_network, str):
            networks.spec(query_network)
        if isinstance(detector, str):
            detectors.check_detector(detector)
        if isinstance(gallery, Gallery):
            self._accept(gallery)
        elif self.location is not None and (readonly or self.location.exists()):
            self._open(self.location)

    def _open(self, location: GalleryLocation) -> Gallery:
        """Open the gallery, unless it is not this network's or detector's; loads neither."""
        device = pytorch.seen(self._device)
        return self._accept(Gallery.open(location, readonly=self._readonly, device=device))

    def _accept(self, gallery: Gallery) -> Gallery:
        """Keep the gallery, or close it if it is not this network's or detector's."""
        try:
            if self._network is not None:
                gallery.require_network(_network(self._network, self._threads, self._device))
            if self._detector is not None:
                gallery.require_detector(_name(self._detector))
            if self._query_network is not None:
                gallery.require_query_network(
                    _network(self._query_network, self._threads, self._device)
                )
        except FaceflowError:
            gallery.close()
            raise
        self._gallery = gallery
        return gallery

    def _known(self) -> Gallery | None:
        """The gallery if there is one by now: another process may have made it."""
        with self._lock:
            if self._closed:
                raise GalleryError(f"{self._name} was closed", todo="make a new Identifier")
            if self._gallery is None and self.location is not None and self.location.exists():
                return self._open(self.location)
            return self._gallery

    @property
    def _name(self) -> str:
        return "The identifier" if self.location is None else str(self.location)

    # What it works with

    @property
    def gallery(self) -> Gallery:
        """The gallery, for everything that is not here: renaming, merging, export, settings.

        Raises:
            GalleryError: nobody was enrolled yet, so there is none, or the identifier is closed.
        """
        found = self._known()
        if found is None and self.location is None:
            raise _no_gallery()
        if found is None:
            raise GalleryError(
                f"There is no gallery at {self.location}",
                todo="enroll somebody first, or check the name",
            )
        return found

    @property
    def analyzer(self) -> FaceAnalyzer:
        """The network and detector, loaded now if they were not.

        Raises:
            WeightsError: weights are missing and cannot or must not be fetched.
        """
        with self._lock:
            if self._analyzer is None:
                self._analyzer = self._load()
            return self._analyzer

    @property
    def query_analyzer(self) -> FaceAnalyzer:
        """What looks at photos that are asked about: :attr:`analyzer`, or the student's.

        Raises:
            GalleryMismatchError: the query's network is no student of the gallery's.
            WeightsError: see :attr:`analyzer`.
        """
        with self._lock:
            if self._query_network is None:
                return self.analyzer
            if self._query_analyzer is None:
                self._query_analyzer = self._load_for_queries(self._query_network)
            return self._query_analyzer

    def _load_for_queries(self, network: str | FaceNetwork) -> FaceAnalyzer:
        if self._known() is None:  # one whose network nobody knows until it is made or loaded
            first = self.analyzer
            student = self._open_analyzer(network, first.detector)
            require_query_network(student.network, first.network.spec.name, first.network.digest)
            return student
        header = self.gallery.header
        known = None if self._analyzer is None else self._analyzer.detector
        student = self._open_analyzer(network, known or self._detector or header.detector)
        self.gallery.require_query_network(student.network)
        return student

    @property
    def _student(self) -> str | None:
        """Name of the student, where one looks at queries."""
        if self._query_network is None:
            return None
        spec = self.query_analyzer.network.spec
        return spec.name if spec.teacher else None

    def _open_analyzer(
        self, network: str | FaceNetwork | None, detector: str | Detector | None
    ) -> FaceAnalyzer:
        return models.open_analyzer(
            network,
            detector,
            tell=self._tell,
            threads=self._threads,
            device=self._device,
            offline=self._offline,
        )

    def _load(self) -> FaceAnalyzer:
        gallery = self._known()
        header = None if gallery is None else gallery.header
        asking = self._query_analyzer  # one detector serves both
        analyzer = self._open_analyzer(
            self._network or (header.network_name if header else None),
            (asking.detector if asking else None)
            or self._detector
            or (header.detector if header else None),
        )
        if gallery is not None:
            gallery.require_network(analyzer.network)
            gallery.require_detector(analyzer.detector_name)
        return analyzer

    def options(self, **changes: Unpack[Changes]) -> MatchOptions:
        """How faces are compared here, with changes: ``people.options(alpha=0.5, k=200)``.

        Args:
            changes: fields of :class:`faceflow.MatchOptions`. All others are the identifier's
                own, if it was given options; else as the gallery was calibrated; else what
                measured best for its network.

        Raises:
            InputError: an unknown option, or one out of range.
        """
        if self._given_options is not None:
            return self._given_options.changed(**changes)
        return self._resolve(changes)

    def _resolve(self, changes: Changes) -> MatchOptions:
        gallery = self._known()
        if gallery is not None:
            found = gallery.options(**changes)
        else:
            found = options_for(features_digest(self.analyzer.network.digest), **changes)
        solver = found.solver
        if changes.get("solver") or not isinstance(solver, Sinkhorn):
            return found
        here = replace(solver, threads=self._threads, device=self._device)
        return found if here == solver else found.changed(solver=here)

    # Enrolling

    def enroll(
        self,
        photos: ImageSource | Iterable[str | Path] | Listing,
        person: str | None = None,
        *,
        select: SelectOne = "largest",
        whole_image: WholeImage = "never",
        progress: Progress | None = None,
        tell: Callable[[PhotoOutcome], None] | None = None,
    ) -> EnrolmentReport:
        """Add people's photos, making the gallery if there is none.

        Photos that are enrolled already are recognised by their content and skipped, so the same
        call may be repeated after adding photos or after an interruption.

        Args:
            photos: a folder with one folder per person, a CSV file with the columns path and
                person, a tar file of either kind that :mod:`faceflow.gallery.tar_shards` reads,
                or one photo with ``person``: its path, its bytes, a PIL image, or an
                (H, W, 3) uint8 RGB array. Or several paths, or what
                :func:`faceflow.gallery.enrolment.list_photos` made of them.
            person: whose photos they are.
            select: which face of a photo with several is the person's: "largest" or "centre".
            whole_image: "fallback" takes the whole photo for the face where none is found,
                "always" does not look for one.
            progress: told (photos done, photos in all) after each photo.
            tell: told what became of each photo of a list, once that is certain.

        Returns:
            What was added, and which photos were left out and why. A photo that is given by
            itself, not in a list, is not left out silently: its error is raised.

        Raises:
            InputError: no photos, or nobody is named.
            ImageError, NoFaceError: the one photo cannot be read, or shows no face.
            GalleryError: the gallery cannot be made or written.
            WeightsError: see :attr:`analyzer`.
        """
        if isinstance(photos, bytes | Image.Image | np.ndarray):
            return self._enroll_one(photos, person, select, whole_image)
        if isinstance(photos, Listing):
            listing = photos
        else:
            paths = [photos] if isinstance(photos, str | Path) else photos
            listing = list_photos(paths, person=person, tar=True)
        report = enroll_photos(
            listing,
            self._gallery_to_write(),
            self.analyzer,
            select=select,
            whole_image=whole_image,
            progress=progress,
            tell=tell,
        )
        if isinstance(photos, str | Path) and report.photos == len(report.skipped) == 1:
            raise report.skipped[0].error
        return report

    def _enroll_one(
        self,
        image: ImageSource,
        person: str | None,
        select: SelectOne,
        whole_image: WholeImage,
    ) -> EnrolmentReport:
        if person is None:
            raise InputError("It is not said who the photo shows", todo="give person=NAME")
        name = person_name(person)
        face = self.analyzer.analyze(image, select=select, whole_image=whole_image)[0]
        stored = self._gallery_to_write().enroll(
            [
                Enrolment(
                    person=name,
                    source=source_name(image),
                    content_hash=content_hash(image),
                    features=face.features,
                    box=face.box if face.source == "detected" else None,
                    score=face.score,
                    crop=face.crop,
                )
            ]
        )
        return EnrolmentReport(1, stored.added, stored.duplicates, (), (), stored.shared)

    def _gallery_to_write(self) -> Gallery:
        with self._lock:
            known = self._known()
            if known is None:
                if self.location is None:
                    raise _no_gallery()
                known = self._gallery = Gallery.open_or_create(
                    self.location,
                    self.analyzer.network,
                    codec=self._codec,
                    thumbnails=self._thumbnails,
                    detector=self.analyzer.detector_name,
                    device=pytorch.seen(self._device),
                )
            return known

    def remove(self, person: str) -> Change:
        """Remove a person with all faces, erased from the gallery's file.

        Raises:
            GalleryError: no such person; the message names similar ones.
        """
        return self.gallery.remove_person(person)

    @property
    def people(self) -> list[PersonInfo]:
        """Everyone enrolled, by name, with the number of faces; empty before anybody is."""
        known = self._known()
        return [] if known is None else known.people()

    # Asking

    def identify(
        self,
        photo: ImageSource,
        *,
        select: Select = "all",
        whole_image: WholeImage = "never",
        options: MatchOptions | None = None,
        threshold: float | None = None,
        best_faces: int | None = None,
    ) -> list[FoundFace]:
        """Who is in a photo? One answer for every face.

        Args:
            photo: a path, a file's bytes, a PIL image, or an (H, W, 3) uint8 RGB array.
            select: "all" faces (best detected first), the "largest", or the one at the "centre".
            whole_image: "fallback" takes the whole photo for the face where none is found,
                "always" does not look for one: for photos already cropped to a face.
            options, threshold, best_faces: in place of the identifier's own.

        Returns:
            At least one face; each knows its box, its status, the most similar people, and
            explains itself.

        Raises:
            ImageError: the photo cannot be read.
            NoFaceError: no face was found in it.
            GalleryError: there is no gallery yet, or it is closed.
            WeightsError: see :attr:`analyzer`.
            InputError: an option is out of range.
        """
        _ = self.gallery  # a missing gallery is told before anything is loaded
        faces = self.query_analyzer.analyze(photo, select=select, whole_image=whole_image)
        return self._answer(photo, faces, options, threshold, best_faces)

    def identify_many(
        self,
        photos: Iterable[Source],
        *,
        select: Select = "all",
        whole_image: WholeImage = "never",
        options: MatchOptions | None = None,
        threshold: float | None = None,
        best_faces: int | None = None,
    ) -> Iterator[tuple[Source, list[FoundFace] | FaceflowError]]:
        """Who is in each of many photos? One that fails gives its error and stops nothing.

        Args:
            photos: taken as needed, so a generator is fine; how many memory holds is said at
                :meth:`faceflow.analyzer.FaceAnalyzer.analyze_many`.
            select, whole_image, options, threshold, best_faces: as for :meth:`identify`.

        Yields:
            Each photo, in order, with its faces, or with the ImageError or NoFaceError it gave.
        """
        _ = self.gallery
        with closing(
            self.query_analyzer.analyze_many(photos, select=select, whole_image=whole_image)
        ) as answers:
            for photo, found in answers:
                if isinstance(found, FaceflowError):
                    yield photo, found
                else:
                    yield photo, self._answer(photo, found, options, threshold, best_faces)

    def _answer(
        self,
        photo: ImageSource,
        faces: list[Face],
        options: MatchOptions | None,
        threshold: float | None,
        best_faces: int | None,
    ) -> list[FoundFace]:
        used = options or self.options()
        matches = identify(
            FaceFeatures.concatenate([face.features for face in faces]),
            self.gallery,
            options=used,
            threshold=self._threshold if threshold is None else threshold,
            best_faces=self._best_faces if best_faces is None else best_faces,
        )
        name = source_name(photo)
        least = self._min_quality or self.gallery.min_quality
        found = []
        for face, answer in zip(faces, matches, strict=True):
            quality = quality_of(face, used.model)
            told = abstain(answer, quality, least)
            found.append(
                FoundFace(name, face, told, quality, self._student, lambda: self.gallery, used)
            )
        return found

    def verify(
        self,
        a: ImageSource,
        b: ImageSource,
        *,
        select: SelectOne = "largest",
        whole_image: WholeImage = "never",
        options: MatchOptions | None = None,
        threshold: float | None = None,
    ) -> ComparedFaces:
        """Do two photos show the same person? Needs no enrolled people.

        Args:
            a, b: as ``photo`` of :meth:`identify`.
            select: which face of a photo with several: "largest" or "centre".
            whole_image: as for :meth:`identify`.
            options: in place of the identifier's own.
            threshold: the least score that counts as the same person; None decides nothing. The
                identifier's own, which is for identification, is not used.

        Raises:
            ImageError, NoFaceError: a photo cannot be read, or shows no face.
            WeightsError: see :attr:`analyzer`.
        """
        used = options or self.options()
        first, second = (
            looking.analyze(photo, select=select, whole_image=whole_image)[0]
            for looking, photo in ((self.query_analyzer, a), (self.analyzer, b))
        )
        return ComparedFaces(
            (source_name(a), source_name(b)),
            (first, second),
            verify(first.features, second.features, used, threshold=threshold),
            self.analyzer.network.spec.name,
            used,
            self._student,
        )

    # Closing

    def close(self) -> None:
        """Let go of the gallery's file; again does nothing."""
        with self._lock:
            self._closed = True
            if self._gallery is not None:
                self._gallery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.location is None:
            return "<Identifier without a gallery>"
        if self._gallery is None:
            return f"<Identifier {self.location}, nobody enrolled yet>"
        header = self._gallery.header
        return f"<Identifier {self.location}, {header.network_name}, faces by {header.detector}>"


def _no_gallery() -> GalleryError:
    return GalleryError(
        "This identifier has no gallery", todo='name one: Identifier("people.faceflow")'
    )


def _network(network: str | FaceNetwork, threads: int | None, device: Device) -> FaceNetwork:
    """The network; its graph is opened when it first runs."""
    if isinstance(network, str):
        return networks.load_network(network, threads=threads, device=device)
    return network


def _name(detector: str | Detector) -> str:
    return detector if isinstance(detector, str) else detector.name


def _offline_by_environment() -> bool:
    value = os.environ.get("FACEFLOW_OFFLINE", "")
    return value.strip().lower() in {"1", "true", "t", "yes", "y", "on"}
