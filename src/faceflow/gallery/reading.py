"""The reading half of a gallery: search, features, records."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np

from faceflow import patch_model
from faceflow.arrays import Float32, Int64
from faceflow.errors import GalleryError, InputError
from faceflow.features import FaceFeatures
from faceflow.gallery.codec import QuantisedPatches
from faceflow.gallery.codec import codec as find_codec
from faceflow.gallery.identity import (
    GalleryHeader,
    NetworkLike,
    require_alignment,
    require_features,
    require_network,
)
from faceflow.gallery.names import checked_hash
from faceflow.gallery.records import FaceRecord, GalleryStats, PersonInfo, Shortlist
from faceflow.gallery.search import EmbeddingIndex, exact_search
from faceflow.gallery.store import Store
from faceflow.matching import Calibration, Changes, MatchOptions
from faceflow.names import person_name
from faceflow.networks import defaults_for
from faceflow.score import CodedFaces, PreparedFaces, Reranked, rerank


class ReadableGallery:
    """What can be asked of a gallery; :class:`faceflow.gallery.Gallery` can change it too."""

    def __init__(self, store: Store) -> None:
        """Wrap an open store; users call :meth:`create`, :meth:`open` or :meth:`open_or_create`."""
        self._store = store
        self._header = store.header
        self._codec = find_codec(self._header.codec, self._header.grid, self._header.channels)
        self._index = EmbeddingIndex(self._header.embedding_size)
        self._index_lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file; of what SQLite keeps beside it nothing is left."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The gallery file."""
        return self._store.path

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
        require_network(self.path.name, self._header, network)

    def require_alignment(self, alignment: str) -> None:
        """Raise :class:`GalleryMismatchError` if the gallery's faces were aligned otherwise."""
        require_alignment(self.path.name, self._header, alignment)

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
            features: Q query faces from the gallery's network.
            k: length of the shortlist, at least 1; may exceed the number of faces.
            exclude: for each query, ids of faces that must not be found (evaluation without
                the query's own photo).

        Returns:
            ``face_ids`` (Q, k) int64 and ``cosine`` (Q, k) float64, padded with -1 and NaN
            where there are fewer faces.

        Raises:
            GalleryMismatchError: features of another network or alignment than the gallery's.
            InputError: k below 1, or embeddings that are not of unit length.
        """
        require_features(self.path.name, self._header, features)
        # Always the store first, then the index: in the other order two threads could wait
        # for each other.
        with self._store.snapshot(), self._index_lock:
            self._index.refresh(self._store)
            ids, matrix, codes = self._index.ids, self._index.matrix, self._index.codes
        return exact_search(features.embedding, ids, matrix, k, exclude, codes=codes)

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
        embedding, payloads = self._store.vectors(_ids(face_ids))
        parts = self._codec.unpack(payloads)
        patches, norms = self._codec.expand(parts)
        share = self._landmark_share(_ids(face_ids)) if landmarks else None
        return FaceFeatures(
            embedding,
            patches,
            norms,
            parts["pooled"],
            self._header.grid,
            landmark_share=share,
            digest=self.features_digest,
        )

    def _landmark_share(self, face_ids: list[int]) -> Float32:
        cells = self._header.grid[0] * self._header.grid[1]
        share = np.zeros((len(face_ids), cells), np.float32)
        for row, record in zip(share, self._store.records(face_ids), strict=True):
            if record.landmarks is None:
                raise GalleryError(
                    f"{self.path.name} holds no landmarks of face {record.face_id} "
                    f"({record.person})",
                    why="it was enrolled before faceflow kept them, or from a bare crop",
                    todo="enroll the photos again into a new gallery, or use another weighting "
                    "than lmk",
                )
            for cell, value in record.landmarks:
                row[cell] = value
        return share

    def quantised(self, face_ids: Sequence[int] | Int64) -> QuantisedPatches:
        """Patches of the given faces for an int8 kernel, without decoding.

        Returns:
            values (k, R, C) int8 and scales (k, R) float32. A ``float32`` gallery quantises
            on the fly, to the same numbers an ``int8`` gallery would hold.

        Raises:
            GalleryError: no such face.
        """
        payloads = self._store.vectors(_ids(face_ids)).payloads
        return self._codec.quantised(self._codec.unpack(payloads))

    def codes(self, face_ids: Sequence[int] | Int64) -> CodedFaces:
        """What an int8 transport of the given faces reads, and no more.

        Returns:
            Embeddings (k, D), int8 patches (k, R, C), equal to
            ``encode(features(face_ids).patches, "int8")`` but without decoding them first, and
            the exact pooled centres (k, C).

        Raises:
            GalleryError: no such face.
        """
        embedding, payloads = self._store.vectors(_ids(face_ids))
        parts = self._codec.unpack(payloads)
        return CodedFaces(embedding, self._codec.quantised(parts).values, parts["pooled"])

    @contextmanager
    def snapshot(self) -> Iterator[Self]:
        """Inside this context all reads see one state, whatever other processes write.

        Keep it short: other threads wait for it, and data that is removed meanwhile can only
        be erased from the log afterwards. Changes inside are refused.

        Yields:
            What to read that state from.
        """
        with self._store.snapshot():
            yield self

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
                f"the calibration in {self.path.name} cannot be read",
                why=str(error),
                todo="drop it with `faceflow calibrate --forget`, and calibrate again",
            ) from error

    def options(self, **changes: Unpack[Changes]) -> MatchOptions:
        """How this gallery compares: its calibration, else its network's defaults, with changes.

        Args:
            changes: alpha, weighting, k, grid, solver, patches and visible_share, see
                :class:`faceflow.matching.MatchOptions`; None leaves one open.

        Raises:
            InputError: an option is unknown or out of range.
            WeightsError: the gallery's network is known here, but not in the cache.
        """
        name, digest = self._header.network_name, self._header.digest
        return MatchOptions.resolve(
            defaults_for(name),
            self.calibration,
            model=patch_model.load(name, digest),
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
        """Stage 2: :func:`faceflow.score.rerank` of the given faces, in their order.

        Args:
            query: one face, from the gallery's network.
            face_ids: (k,) ids.
            options: from :meth:`options`, or any others.
            flow: keep the flows.

        Raises:
            InputError: as for ``rerank``.
            GalleryError: no such face, or landmarks are wanted of a face that has none.
        """
        return rerank(query, _Kept(self, _ids(face_ids)), options, flow=flow)

    # Looking

    def __len__(self) -> int:
        return self._store.count()

    def people(self) -> list[PersonInfo]:
        """Everyone with the number of faces, by name."""
        return self._store.people()

    def faces(self, person: str | None = None) -> list[FaceRecord]:
        """Records of one person, or of all, by face id.

        Raises:
            GalleryError: no such person.
        """
        return self._store.records_of(None if person is None else person_name(person))

    def record(self, face_id: int) -> FaceRecord:
        """What is known about one face. No such face: GalleryError."""
        return self._store.records([int(face_id)])[0]

    def records(self, face_ids: Sequence[int] | Int64) -> list[FaceRecord]:
        """Records of the given faces, in that order. No such face: GalleryError."""
        return self._store.records(_ids(face_ids))

    def person_of(self, face_ids: Sequence[int] | Int64) -> list[str]:
        """Names of the given faces, in that order. No such face: GalleryError."""
        return self._store.names(_ids(face_ids))

    def people_with(self, content_hash: str) -> list[str]:
        """Names of those who have this photo: ask before computing features once more.

        Args:
            content_hash: sha256 of the photo's content, 64 hex digits.
        """
        return self._store.people_with(checked_hash(content_hash))

    def thumbnail(self, face_id: int) -> bytes | None:
        """The small JPEG of a face, or None where none was kept. No such face: GalleryError."""
        return self._store.thumbnails([int(face_id)])[0]

    def stats(self) -> GalleryStats:
        """Size and origin."""
        with self._store.snapshot():
            faces, people = self._store.count(), len(self._store.people())
        size = self._store.size_bytes()
        return GalleryStats(
            self.path, faces, people, size, size / faces if faces else 0.0, self._header
        )

    def check(self) -> None:
        """Read every byte and compare it with its checksum; takes seconds on large galleries.

        Raises:
            GalleryError: at the first thing that is not as it was written.
        """
        self._store.check()

    # Settings

    @property
    def settings(self) -> dict[str, Any]:
        """A copy of the gallery's own settings, e.g. a calibrated alpha or threshold."""
        return self._store.settings()


@dataclass(frozen=True, slots=True)
class _Kept:
    """Some faces of a gallery as :class:`faceflow.score.KeptFaces`."""

    gallery: ReadableGallery
    face_ids: list[int]

    @property
    def digest(self) -> str:
        return self.gallery.features_digest

    @property
    def sizes(self) -> tuple[int, int]:
        header = self.gallery.header
        return header.grid[0] * header.grid[1], header.channels

    def features(self, *, landmarks: bool) -> FaceFeatures:
        return self.gallery.features(np.array(self.face_ids, np.int64), landmarks=landmarks)

    def codes(self) -> CodedFaces:
        return self.gallery.codes(np.array(self.face_ids, np.int64))


def _ids(face_ids: Sequence[int] | Int64) -> list[int]:
    array: Any = np.asarray(face_ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"face ids must be a flat list of whole numbers, got {face_ids!r}")
    return [int(i) for i in array]
