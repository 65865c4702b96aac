"""The reading half of a gallery: search, features, records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from faceflow.arrays import Float32, Int8, Int64
from faceflow.errors import GalleryError, InputError
from faceflow.features import FaceFeatures
from faceflow.gallery.codec import QuantisedPatches
from faceflow.gallery.codec import codec as find_codec
from faceflow.gallery.identity import (
    GalleryHeader,
    NetworkLike,
    require_alignment,
    require_network,
    require_shapes,
)
from faceflow.gallery.names import checked_hash
from faceflow.gallery.records import FaceRecord, PersonInfo, Shortlist
from faceflow.gallery.search import EmbeddingIndex, exact_search
from faceflow.gallery.store import StoreView
from faceflow.names import person_name


class ReadableGallery(ABC):
    """What can be asked of a gallery, or of one state of it.

    Every method of a :class:`faceflow.gallery.Gallery` answers for the moment it is called;
    those of a :class:`GalleryView` all answer for the moment the view was made.
    """

    def __init__(self, path: Path, header: GalleryHeader, index: EmbeddingIndex) -> None:
        self._path = path
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
    def path(self) -> Path:
        """The gallery file."""
        return self._path

    @property
    def header(self) -> GalleryHeader:
        """What the gallery was made for: network, sizes, codec."""
        return self._header

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
            GalleryMismatchError: features of other sizes than the gallery's.
            InputError: k below 1, or embeddings that are not of unit length.
        """
        require_shapes(self.path.name, self._header, features)
        with self._reading() as store:
            known = self._index.of(store)
        return exact_search(
            features.embedding, known.ids, known.matrix, k, exclude, codes=known.codes
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
        ids = _ids(face_ids)
        with self._reading() as store:
            embedding, payloads = store.vectors(ids)
            records = store.records(ids) if landmarks else None
        parts = self._codec.unpack(payloads)
        patches, norms = self._codec.expand(parts)
        share = None if records is None else self._landmark_share(records)
        return FaceFeatures(
            embedding, patches, norms, parts["pooled"], self._header.grid, landmark_share=share
        )

    def _landmark_share(self, records: Sequence[FaceRecord]) -> Float32:
        cells = self._header.grid[0] * self._header.grid[1]
        share = np.zeros((len(records), cells), np.float32)
        for row, record in zip(share, records, strict=True):
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
        with self._reading() as store:
            payloads = store.vectors(_ids(face_ids)).payloads
        return self._codec.quantised(self._codec.unpack(payloads))

    def codes(self, face_ids: Sequence[int] | Int64) -> tuple[Int8, Float32]:
        """What an int8 transport of the given faces reads, and no more.

        Returns:
            int8 patches (k, R, C), equal to ``encode(features(face_ids).patches, "int8")`` but
            without decoding them first, and the exact pooled centres (k, C).

        Raises:
            GalleryError: no such face.
        """
        with self._reading() as store:
            payloads = store.vectors(_ids(face_ids)).payloads
        parts = self._codec.unpack(payloads)
        return self._codec.quantised(parts).values, parts["pooled"]

    # Looking

    def __len__(self) -> int:
        with self._reading() as store:
            return store.count()

    def people(self) -> list[PersonInfo]:
        """Everyone with the number of faces, by name."""
        with self._reading() as store:
            return store.people()

    def faces(self, person: str | None = None) -> list[FaceRecord]:
        """Records of one person, or of all, by face id.

        Raises:
            GalleryError: no such person.
        """
        with self._reading() as store:
            return store.records_of(None if person is None else person_name(person))

    def record(self, face_id: int) -> FaceRecord:
        """What is known about one face. No such face: GalleryError."""
        with self._reading() as store:
            return store.records(_ids([face_id]))[0]

    def records(self, face_ids: Sequence[int] | Int64) -> list[FaceRecord]:
        """Records of the given faces, in that order. No such face: GalleryError."""
        with self._reading() as store:
            return store.records(_ids(face_ids))

    def person_of(self, face_ids: Sequence[int] | Int64) -> list[str]:
        """Names of the given faces, in that order. No such face: GalleryError."""
        with self._reading() as store:
            return store.names(_ids(face_ids))

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
            return store.thumbnails(_ids([face_id]))[0]

    def check(self) -> None:
        """Read every byte and compare it with its checksum; takes seconds on large galleries.

        Raises:
            GalleryError: at the first thing that is not as it was written.
        """
        with self._reading() as store:
            store.check()

    # Settings

    @property
    def settings(self) -> dict[str, Any]:
        """A copy of the gallery's own settings, e.g. a calibrated alpha or threshold."""
        with self._reading() as store:
            return store.settings()


class GalleryView(ReadableGallery):
    """One state of a gallery, for one thread at a time; from :meth:`ReadableGallery.snapshot`."""

    def __init__(
        self, path: Path, header: GalleryHeader, index: EmbeddingIndex, store: StoreView
    ) -> None:
        super().__init__(path, header, index)
        self._store = store

    def _reading(self) -> AbstractContextManager[StoreView]:
        return nullcontext(self._store)

    def snapshot(self) -> AbstractContextManager[GalleryView]:
        """This view: it is a snapshot already."""
        return nullcontext(self)


def _ids(face_ids: Sequence[int] | Int64) -> list[int]:
    array: Any = np.asarray(face_ids)
    numbers = array.dtype.kind in "iu" or (
        # Numbers beyond 64 bits: no face has them, which is for the store to say.
        array.dtype.kind in "Of" and all(type(i) is int for i in face_ids)
    )
    if array.ndim != 1 or (array.size and not numbers):
        raise InputError(f"face ids must be a flat list of whole numbers, got {face_ids!r}")
    return [int(i) for i in face_ids]
