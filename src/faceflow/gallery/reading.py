"""The reading half of a gallery: search, features, records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.errors import GalleryError, InputError
from faceflow.features import FaceFeatures, Grid
from faceflow.gallery.codec import QuantisedPatches, no_patches
from faceflow.gallery.codec import codec as find_codec
from faceflow.gallery.identity import (
    GalleryHeader,
    NetworkLike,
    require_detector,
    require_network,
    require_query,
    require_query_network,
)
from faceflow.gallery.person_names import person_name
from faceflow.gallery.records import FaceRecord, PersonInfo
from faceflow.gallery.search import EmbeddingIndex, exact_search
from faceflow.gallery.sources import checked_hash
from faceflow.gallery.stores.store import StoreView
from faceflow.matching import covers
from faceflow.matching.contributions import residues_of
from faceflow.matching.options import Calibration, Changes, MatchOptions
from faceflow.matching.score import CodedFaces, PreparedFaces, Reranked, rerank
from faceflow.matching.shortlist import Shortlist
from faceflow.networks import UNCALIBRATED, MatchDefaults, defaults_for
from faceflow.quality import BANDS, Band

MIN_QUALITY = "min_quality"
"""Name of the setting behind :attr:`ReadableGallery.min_quality`."""


class ReadableGallery(ABC):
    """What can be asked of a gallery, or of one state of it.

    Every method of a :class:`faceflow.gallery.Gallery` answers for the moment it is called;
    those of a :class:`GalleryView` all answer for the moment the view was made.
    """

    def __init__(
        self, location: str, name: str, header: GalleryHeader, index: EmbeddingIndex
    ) -> None:
        self._location = location
        self._name = name
        self._header = header
        self._index = index
        self._codec = find_codec(header.codec, header.grid, header.channels)

    @abstractmethod
    def _reading(self) -> AbstractContextManager[StoreView]:
        """The state to read from."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[GalleryView]:
        """One state of the gallery to ask several things of, whatever others write meanwhile.

        Each snapshot has a connection of its own: any number of threads may hold one, and
        neither they nor writers wait for each other. Keep it short: data that is removed
        meanwhile can be erased from the log only when the snapshots before it are over.

        Example:
            ``with gallery.snapshot() as view: found = view.search(query, k=10)``, then
            ``view.features(found.face_ids[0])`` knows every face found.
        """

    @property
    def location(self) -> str:
        """Where the gallery is: its file's path, or its URL without the password."""
        return self._location

    @property
    def name(self) -> str:
        """The short form of its location, for messages."""
        return self._name

    @property
    def header(self) -> GalleryHeader:
        """What the gallery was made for: network, sizes, codec."""
        return self._header

    @property
    def features_digest(self) -> str:
        """What made the features it holds, see :func:`faceflow.features.features_digest`."""
        return self._header.features_digest

    def require_network(self, network: NetworkLike) -> None:
        """Raise :class:`GalleryMismatchError` if the gallery was made for another network."""
        require_network(self.name, self._header, network)

    def require_query_network(self, network: NetworkLike) -> None:
        """Raise GalleryMismatchError unless queries of ``network``, or of a student, are taken."""
        require_query_network(network, self._header.network_name, self._header.digest)

    def require_detector(self, detector: str) -> None:
        """Raise :class:`GalleryMismatchError` if another detector found the gallery's faces."""
        require_detector(self.name, self._header, detector)

    # Searching

    def search(
        self,
        features: FaceFeatures,
        k: int,
        *,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> Shortlist:
        """The k faces of largest cosine for each query: exact, over all faces.

        Order: cosine descending, then face id. A score does not depend on the other queries
        of the batch. Faces that other processes have added by now are found.

        Args:
            features: Q query faces from the gallery's network, or from a student of it.
            k: length of the shortlist, at least 1; may exceed the number of faces.
            exclude: for each query, ids of faces that must not be found (evaluation without
                the query's own photo).

        Returns:
            ``face_ids`` (Q, k) int64 and ``cosine`` (Q, k) float64, padded with -1 and NaN
            where there are fewer faces.

        Raises:
            GalleryMismatchError: features of another network or detector than the gallery's.
            InputError: k below 1, or embeddings that are not of unit length.
        """
        require_query(self.name, self._header, features)
        with self._reading() as store:
            known = self._index.of(store, len(features))
        return exact_search(
            features.embedding,
            known.ids,
            known.matrix,
            k,
            exclude,
            codes=known.codes,
            on_device=known.on_device,
        )

    def features(self, face_ids: Sequence[int] | Int64, *, landmarks: bool = False) -> FaceFeatures:
        """Features of the given faces, in that order, as the codec gives them back.

        Args:
            face_ids: (k,) ids; one may come twice.
            landmarks: also the landmark shares, which LMK weighting needs and which take
                longer to read than all the rest.

        Returns:
            Embedding (k, D) and pooled (k, C) exact; patches (k, R, C) and norms (k, R) as
            good as the codec.

        Raises:
            GalleryError: no such face, e.g. removed by another process since the search; use
                :meth:`snapshot` around both to rule that out. Or landmarks are wanted of a face
                they were not kept of.
        """
        ids = flat_ids(face_ids)
        with self._reading() as store:
            payloads = store.payloads(ids)
            embedding = self._embedding(store, ids)
            records = store.records(ids) if landmarks else None
        parts = self._codec.unpack(payloads)
        patches, norms = self._codec.expand(parts)
        share = None if records is None else self._landmark_share(records)
        return FaceFeatures(
            embedding,
            patches,
            norms,
            parts["pooled"],
            self._header.grid,
            landmark_share=share,
            digest=self.features_digest,
        )

    def _landmark_share(self, records: Sequence[FaceRecord]) -> Float32:
        cells = self._header.grid[0] * self._header.grid[1]
        share = np.zeros((len(records), cells), np.float32)
        for row, record in zip(share, records, strict=True):
            if record.landmarks is None:
                raise GalleryError(
                    f"{self.name} holds no landmarks of face {record.face_id} ({record.person})",
                    why="it was enrolled before faceflow kept them, or from a bare crop",
                    todo="enroll the photos again into a new gallery, or use another weighting "
                    "than lmk",
                )
            for cell, value in record.landmarks:
                row[cell] = value
        return share

    def _embedding(self, store: StoreView, ids: list[int]) -> Float32:
        """(k, D) of faces that the state has: from memory where search has loaded them."""
        known = self._index.known(store.revision())
        if known is None:
            return store.embeddings_of(ids)
        wanted = np.array(ids, np.int64)
        return known.matrix[np.searchsorted(known.ids, wanted)]

    def embeddings(self, face_ids: Sequence[int] | Int64) -> Float32:
        """(k, D) embeddings of the given faces, in that order. No such face: GalleryError."""
        ids = flat_ids(face_ids)
        with self._reading() as store:
            if self._index.known(store.revision()) is not None:
                store.names(ids)  # says which face is unknown
            return self._embedding(store, ids)

    def quantised(self, face_ids: Sequence[int] | Int64) -> QuantisedPatches:
        """Patches of the given faces for an int8 kernel, without decoding.

        Returns:
            values (k, R, C) int8 and scales (k, R) float32. A ``float32`` gallery quantises
            on the fly, to the same numbers an ``int8`` gallery would hold.

        Raises:
            GalleryError: no such face.
        """
        with self._reading() as store:
            payloads = store.payloads(flat_ids(face_ids))
        return self._codec.quantised(self._codec.unpack(payloads))

    def codes(self, face_ids: Sequence[int] | Int64) -> CodedFaces:
        """What an int8 transport of the given faces reads, and no more.

        Returns:
            Embeddings (k, D), int8 patches (k, R, C), equal to
            ``encode(features(face_ids).patches, "int8")`` but without decoding them first, and
            the exact pooled centres (k, C), and lengths or scales (k, R).

        Raises:
            GalleryError: no such face.
        """
        ids = flat_ids(face_ids)
        with self._reading() as store:
            payloads = store.payloads(ids)
            embedding = self._embedding(store, ids)
        parts = self._codec.unpack(payloads)
        values, scales = self._codec.quantised(parts)
        if "patches" in parts and "norms" in parts:  # kept in float32: no code is all of it
            residues = residues_of(parts["patches"], values)
            return CodedFaces(
                embedding, values, parts["pooled"], norms=parts["norms"], residues=residues
            )
        return CodedFaces(embedding, values, parts["pooled"], scales=scales)

    # Matching: what identification asks of a gallery

    @property
    def calibration(self) -> Calibration | None:
        """Options and threshold chosen for this gallery, or None.

        Raises:
            GalleryError: what the gallery keeps is no calibration.
        """
        kept = self.settings.get("match")
        if not kept:
            return None
        try:
            return Calibration.from_json(kept, defaults_for(self._header.network_name))
        except (InputError, AttributeError, TypeError) as error:
            raise GalleryError(
                f"the calibration in {self.name} cannot be read",
                why=str(error),
                todo="drop it with `faceflow calibrate --forget`, and calibrate again",
            ) from error

    @property
    def min_quality(self) -> Band:
        """The worst quality of a query that is answered here; "poor" (all are) unless set.

        It is the setting "min_quality", see :meth:`faceflow.Gallery.update_settings`.

        Raises:
            GalleryError: what the gallery keeps is no band.
        """
        kept = self.settings.get(MIN_QUALITY, "poor")
        if kept not in BANDS:
            raise GalleryError(
                f"the least quality that {self.name} keeps is {str(kept)[:40]!r}",
                todo=f"set it to {', '.join(BANDS)}",
            )
        found: Band = kept
        return found

    def options(self, **changes: Unpack[Changes]) -> MatchOptions:
        """How this gallery compares: its calibration, else its network's defaults, with changes.

        Args:
            changes: alpha, weighting, k, grid, solver, patches and visible_share, see
                :class:`faceflow.matching.options.MatchOptions`; None leaves one open.

        Raises:
            InputError: an option is unknown or out of range.
            GalleryError: patches are to count, and the gallery keeps none.
            WeightsError: the gallery's network is known here, but not in the cache.
        """
        if not self._codec.keeps_patches:
            return _stage1_options(changes)
        name, digest = self._header.network_name, self._header.digest
        return MatchOptions.resolve(
            defaults_for(name),
            self.calibration,
            model=covers.load(name, digest),
            changes=changes,
        )

    def shortlist(self, query: FaceFeatures, k: int) -> Shortlist:
        """Stage 1: the k faces of largest cosine for each of N queries, see :meth:`search`."""
        return self.search(query, k)

    def score(
        self,
        query: FaceFeatures | PreparedFaces,
        face_ids: Sequence[int] | Int64,
        options: MatchOptions,
        *,
        flow: bool = False,
    ) -> Reranked:
        """Stage 2: :func:`faceflow.matching.score.rerank` of the given faces, in their order.

        Args:
            query: one face, from the gallery's network.
            face_ids: (k,) ids.
            options: from :meth:`options`, or any others.
            flow: keep the flows.

        Raises:
            InputError: as for ``rerank``.
            GalleryError: no such face, or landmarks are wanted of a face that has none.
        """
        return rerank(query, _Kept(self, flat_ids(face_ids)), options, flow=flow)

    # Looking

    def __len__(self) -> int:
        with self._reading() as store:
            return store.count()

    @property
    def revision(self) -> str:
        """Hex digits that change with every change of the gallery, whoever makes it.

        Two equal ones mean that nothing was changed between: faces, names and settings.
        """
        with self._reading() as store:
            return store.token()

    def people(self, *, after: str | None = None, limit: int | None = None) -> list[PersonInfo]:
        """People with the number of their faces, by name without regard to case.

        Args:
            after: only those behind this name in the order, whether or not somebody has it.
            limit: at most so many; together with ``after`` everyone, page by page.
        """
        _require_limit(limit)
        with self._reading() as store:
            return store.people(after=after, limit=limit)

    def person(self, who: str | int) -> PersonInfo:
        """The person of that name, or of that ``person_id``. No such person: GalleryError."""
        with self._reading() as store:
            return store.person(person_name(who) if isinstance(who, str) else int(who))

    def faces(
        self, person: str | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[FaceRecord]:
        """Records of one person, or of all, by face id.

        Args:
            person: whose; default all.
            after: only ids larger than this one.
            limit: at most so many; together with ``after`` all of them, page by page.

        Raises:
            GalleryError: no such person.
        """
        _require_limit(limit)
        name = None if person is None else person_name(person)
        with self._reading() as store:
            return store.records_of(name, after=after, limit=limit)

    def record(self, face_id: int) -> FaceRecord:
        """What is known about one face. No such face: GalleryError."""
        with self._reading() as store:
            return store.records(flat_ids([face_id]))[0]

    def records(self, face_ids: Sequence[int] | Int64) -> list[FaceRecord]:
        """Records of the given faces, in that order. No such face: GalleryError."""
        with self._reading() as store:
            return store.records(flat_ids(face_ids))

    def person_of(self, face_ids: Sequence[int] | Int64) -> list[str]:
        """Names of the given faces, in that order. No such face: GalleryError."""
        with self._reading() as store:
            return store.names(flat_ids(face_ids))

    def people_with(self, content_hash: str) -> list[str]:
        """Names of those who have this photo: ask before computing features once more.

        Args:
            content_hash: sha256 of the photo's content, 64 hex digits.
        """
        with self._reading() as store:
            return store.people_with(checked_hash(content_hash))

    def thumbnail(self, face_id: int) -> bytes | None:
        """The small JPEG of a face, or None where none was kept. No such face: GalleryError."""
        with self._reading() as store:
            return store.thumbnails(flat_ids([face_id]))[0]

    def check(self) -> None:
        """Read every byte and compare it with its checksum; takes seconds on large galleries.

        Raises:
            GalleryError: at the first thing that is not as it was written.
        """
        with self._reading() as store:
            store.check()

    def count_people(self) -> int:
        """People."""
        with self._reading() as store:
            return store.count_people()

    # Settings

    @property
    def settings(self) -> dict[str, Any]:
        """A copy of the gallery's own settings, e.g. a calibrated alpha or threshold."""
        with self._reading() as store:
            return store.settings()


class GalleryView(ReadableGallery):
    """One state of a gallery, for one thread at a time; from :meth:`ReadableGallery.snapshot`."""

    def __init__(
        self,
        location: str,
        name: str,
        header: GalleryHeader,
        index: EmbeddingIndex,
        store: StoreView,
    ) -> None:
        super().__init__(location, name, header, index)
        self._store = store

    def _reading(self) -> AbstractContextManager[StoreView]:
        return nullcontext(self._store)

    def snapshot(self) -> AbstractContextManager[GalleryView]:
        """This view: it is a snapshot already."""
        return nullcontext(self)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Some faces of a gallery as :class:`faceflow.matching.score.KeptFaces`."""

    gallery: ReadableGallery
    face_ids: list[int]

    @property
    def digest(self) -> str:
        return self.gallery.features_digest

    @property
    def sizes(self) -> tuple[int, int]:
        header = self.gallery.header
        return header.grid[0] * header.grid[1], header.channels

    @property
    def grid(self) -> Grid:
        return self.gallery.header.grid

    def embeddings(self) -> Float32:
        return self.gallery.embeddings(np.array(self.face_ids, np.int64))

    def features(self, *, landmarks: bool) -> FaceFeatures:
        return self.gallery.features(np.array(self.face_ids, np.int64), landmarks=landmarks)

    def codes(self) -> CodedFaces:
        return self.gallery.codes(np.array(self.face_ids, np.int64))


def _stage1_options(changes: Changes) -> MatchOptions:
    """Options of a gallery without patches: the cosine of embeddings, unless more is asked for."""
    given = {name: value for name, value in changes.items() if value is not None}
    if given.get("alpha") or given.get("visible_share"):
        raise no_patches()
    alone = MatchDefaults(alpha=0.0, weighting="uniform", k=UNCALIBRATED.k)
    return MatchOptions.resolve(alone, changes=changes)


def _require_limit(limit: int | None) -> None:
    if limit is not None and not 0 < limit < 2**63:
        raise InputError(f"limit is {limit}", why="a page holds at least 1")


def flat_ids(face_ids: Sequence[int] | Int64) -> list[int]:
    """Face ids as plain numbers; InputError for anything but a flat list of whole numbers."""
    array: Any = np.asarray(face_ids)
    numbers = array.dtype.kind in "iu" or (
        # Numbers beyond 64 bits: no face has them, which is for the store to say.
        array.dtype.kind in "Of" and all(type(i) is int for i in face_ids)
    )
    if array.ndim != 1 or (array.size and not numbers):
        raise InputError(f"face ids must be a flat list of whole numbers, got {face_ids!r}")
    return array.tolist() if array.dtype.kind in "iu" else [int(i) for i in face_ids]
