"""The galleries of a service, the networks they belong to, and where the work is done."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from faceflow import models, networks
from faceflow.analyzer import Face, FaceAnalyzer, Select, WholeImage
from faceflow.arrays import UInt8
from faceflow.errors import GalleryError, InputError
from faceflow.faces import detectors
from faceflow.gallery import Gallery, GalleryLocation, require_own_space
from faceflow.gallery.stores.opening import Location
from faceflow.matching.options import Changes, MatchOptions
from faceflow.matching.transport import Sinkhorn
from faceflow.server.decoding import Decoders
from faceflow.server.limits import Computing
from faceflow.server.places import NAME, Mark, places_of
from faceflow.server.problems import conflict, not_found
from faceflow.server.settings import Limits, ServerSettings
from faceflow.weights import devices, pytorch
from faceflow.weights.session import physical_cores

log = logging.getLogger("faceflow.server")

Analyzers = Callable[[str, str], FaceAnalyzer]
"""Gives the analyzer of a network and a detector."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A gallery that is open, and what tells it from another one in its place."""

    name: str
    gallery: Gallery
    mark: Mark


class Engine:
    """Everything that a process computes with; one of them a process.

    Args:
        settings: of the service.
        current: its limits as they are now.
        analyzers: where analyzers come from; default: the networks and detectors in the cache,
            fetched unless the settings say offline.
    """

    def __init__(
        self,
        settings: ServerSettings,
        current: Callable[[], Limits],
        analyzers: Analyzers | None = None,
    ) -> None:
        limits = settings.limits
        self._limits = current
        self.settings = settings
        self.device = devices.resolve(settings.device)
        self.places = places_of(settings.galleries)
        self.computing = Computing(current)
        self.decoders = Decoders(limits.searches, limits.seconds, limits.decoded_bytes)
        self._threads = settings.threads
        if settings.threads is None and settings.workers > 1:
            self._threads = max(1, physical_cores() // settings.workers)
        self._make = analyzers or self._load
        self._analyzers: dict[tuple[str, str], FaceAnalyzer] = {}
        self._open: dict[str, Opened] = {}
        self._joined = contextlib.ExitStack()
        self._lock = threading.RLock()
        self._loading = threading.Lock()

    # Galleries

    def names(self) -> list[str]:
        """Names of all galleries there are now, sorted."""
        return self.places.names()

    def gallery(self, name: str) -> Gallery:
        """The gallery of that name, as it is there now.

        Another process may have deleted it, or put another in its place: what is open then
        is let go of.

        Raises:
            Problem: 404, there is none.
            GalleryError: it cannot be opened.
        """
        with self._lock:
            known, mark = self._open.get(name), self.places.mark(name)
            if mark is None:
                self._forget(name)
                raise not_found(f"gallery {name!r}")
            if known is None or known.mark != mark:
                self._forget(name)
                opened = self._opened(self.places.location(name))
                known = self._open[name] = Opened(name, opened, mark)
            return known.gallery

    def _opened(self, location: Location) -> Gallery:
        """Open a gallery, in front of its shards where the service works on a cluster."""
        if self.settings.cluster is None:
            return Gallery.open(location, device=pytorch.seen(self.device))
        from faceflow.cluster.deployment import open_sharded
        from faceflow.cluster.joining import joined

        # Once: a process that has joined stays in it.
        self._joined.enter_context(joined(self.settings.cluster))
        at = location if isinstance(location, GalleryLocation) else GalleryLocation(location)
        return open_sharded(at, readonly=False)

    def _forget(self, name: str) -> None:
        known = self._open.pop(name, None)
        if known is not None:
            with contextlib.suppress(GalleryError):
                known.gallery.close()

    def create(self, name: str, network: str | None, detector: str | None) -> Gallery:
        """Make an empty gallery.

        Raises:
            Problem: 409, the name is taken, or the service was given one gallery only.
            InputError: a network, detector or name that there is not.
            WeightsError: the network's weights cannot be had.
        """
        if not self.places.makes_more:
            raise conflict("one-gallery", "This service has one gallery and makes no others")
        if not NAME.fullmatch(name):
            raise InputError(f"a gallery cannot be called {name!r}")
        chosen = detector or detectors.DEFAULT
        detectors.check_detector(chosen)
        analyzer = self._analyzer(network or networks.DEFAULT, chosen)
        require_own_space("a new gallery", analyzer.network)
        spec = analyzer.network.spec
        with self._lock:
            if any(name.casefold() == other.casefold() for other in self.names()):
                raise conflict("exists", f"There is a gallery {name!r} already")
            Gallery.create(
                self.places.location(name),
                network_name=spec.name,
                digest=analyzer.network.digest,
                embedding_size=spec.embedding_size,
                grid=spec.grid,
                channels=spec.channels,
                detector=analyzer.detector_name,
            ).close()
        return self.gallery(name)

    def delete(self, name: str) -> int:
        """Remove a gallery's file with all that lies beside it; how many faces it held.

        Raises:
            Problem: 404, there is none; 409, it is kept in a database.
        """
        if not self.places.removes:
            raise conflict(
                "kept-elsewhere",
                "This gallery is kept in a database, and the service does not remove it",
                todo="ask who administers the database",
            )
        with self._lock:
            faces = len(self.gallery(name))
            self._forget(name)
            self.places.remove(name)
        return faces

    # Networks

    def analyzer(self, gallery: Gallery) -> FaceAnalyzer:
        """What computes this gallery's features; loaded once for all galleries alike.

        Raises:
            GalleryMismatchError: it was made for other weights than those that are here.
            WeightsError: they are missing and cannot or must not be fetched.
        """
        header = gallery.header
        found = self._analyzer(header.network_name, header.detector)
        gallery.require_network(found.network)
        gallery.require_detector(found.detector_name)
        return found

    def query_analyzer(self, gallery: Gallery) -> FaceAnalyzer:
        """What looks at queries: the service's student where it is one of the gallery's network.

        Raises:
            GalleryMismatchError, WeightsError: as :meth:`analyzer`.
        """
        student = self.student(gallery)
        if student is None:
            return self.analyzer(gallery)
        return self._analyzer(student, gallery.header.detector)

    def student(self, gallery: Gallery) -> str | None:
        """The service's student, where it is one of the gallery's network."""
        name = self.settings.query_network
        if name is None or networks.spec(name).teacher != gallery.header.digest:
            return None
        return name

    def _analyzer(self, network: str, detector: str) -> FaceAnalyzer:
        with self._loading:
            found = self._analyzers.get((network, detector))
            if found is None:
                found = self._analyzers[network, detector] = self._make(network, detector)
            return found

    def _load(self, network: str, detector: str) -> FaceAnalyzer:
        threads = self._threads
        wanted = [networks.spec(network).model_name]
        wanted += [model.name for model in detectors.MODELS if model.name == detector]
        models.ensure(*wanted, offline=self.settings.offline, tell=log.warning)
        return FaceAnalyzer(
            networks.load_network(network, threads=threads, device=self.device),
            detectors.load_detector(detector, threads=threads, device=self.device),
        )

    # Work, for the threads of ``computing``

    def analyze(
        self,
        gallery: Gallery,
        photo: bytes,
        *,
        select: Select = "all",
        whole_image: WholeImage = "never",
        asked: bool = False,
    ) -> tuple[UInt8, list[Face]]:
        """A photo's pixels (H, W, 3), and its faces as the gallery's network sees them.

        Args:
            gallery: the gallery.
            photo: the file's content.
            select, whole_image: as in :meth:`faceflow.analyzer.FaceAnalyzer.analyze`.
            asked: it is a query, so :meth:`query_analyzer` looks at it.

        Raises:
            ImageError: it cannot be read.
            NoFaceError: it shows no face.
        """
        pixels = self.decoders.decode(photo)
        looking = self.query_analyzer(gallery) if asked else self.analyzer(gallery)
        faces = looking.analyze(pixels, select=select, whole_image=whole_image)
        return pixels, faces

    def options(self, gallery: Gallery, changes: Changes, epsilon: float | None) -> MatchOptions:
        """How a gallery compares, with changes.

        Raises:
            InputError: out of range.
        """
        threads = self._threads
        solver = Sinkhorn(threads=threads, device=self.device)
        if epsilon is not None:
            solver = replace(solver, epsilon=epsilon)
        k = changes.get("k")
        most = self._limits().candidates
        if k is not None and k > most:
            raise InputError(f"k is {k}", why=f"at most {most} are compared here")
        given: Changes = {**changes, "solver": solver}
        return gallery.options(**given)

    def warm(self) -> None:
        """Load what the first search would wait for: a decoder, and the galleries' networks."""
        self.decoders.warm()
        for name in self.names():
            try:
                gallery = self.gallery(name)
                self.query_analyzer(gallery)
                gallery.options()
            except Exception as error:  # said by whoever asks for that gallery
                log.warning("a gallery is not ready: %s", type(error).__name__)

    def close(self) -> None:
        """Finish what runs, and let go of everything."""
        self.computing.close()
        self.decoders.close()
        with self._lock:
            for name in list(self._open):
                self._forget(name)
            self._joined.close()

    def opened(self) -> Iterator[str]:
        """Names of the galleries that are open now."""
        with self._lock:
            return iter(list(self._open))
