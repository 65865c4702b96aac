"""One shard: the faces of some people, searched and scored where they are in memory.

A part answers for the state of the gallery that it is asked about, or tells what has changed since.
It looks into the gallery only when it is behind that state, and for the patches of candidates
unless it holds those too.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from faceflow.arrays import Float32, Float64, Int64
from faceflow.cluster.faces import Assignment, Faces, Follower, State, by_person
from faceflow.errors import (
    FaceflowError,
    GalleryError,
    InputError,
    UnreachableGalleryError,
    WeightsError,
)
from faceflow.features import FaceFeatures
from faceflow.gallery.codec import codec
from faceflow.gallery.reading import GalleryView
from faceflow.gallery.records import FaceRecord
from faceflow.gallery.search import EmbeddingIndex, exact_search
from faceflow.gallery.stores.store import Revision, Store, StoreView
from faceflow.matching import covers
from faceflow.matching.covers import PatchModel
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import Reranked

Hold = Literal["embeddings", "patches"]
"""What a shard keeps in memory. Embeddings always; with patches it reads nothing for a search."""

_MODELS = 8
"""Patch models that a part remembers."""


class UnknownModelError(FaceflowError):
    """Scores need a patch model that this part does not have: send it along."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Stage 1's answer of one part.

    Attributes:
        face_ids: (Q, m) int64, best first; -1 behind the last.
        cosine: (Q, m) float64.
        revision: the state the part was in.
        left: ids that left somebody between the state asked about and this one, wherever they
            live; they may be missing here.
    """

    face_ids: Int64
    cosine: Float64
    revision: Revision
    left: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Stage 2's answer of one part.

    Attributes:
        at: (m,) which of the ids asked for are scored; the others are not here any more.
        scores: of those.
    """

    at: Int64
    scores: Reranked


@dataclass(frozen=True, slots=True)
class Standing:
    """How a part stands.

    Attributes:
        shard, shards: which part of how many.
        faces, people: here.
        state: of the gallery that it knows; None while it loads.
        nbytes: of its arrays.
        hold: what it keeps in memory.
        loading_seconds: what reading everything took.
    """

    shard: int
    shards: int
    faces: int
    people: int
    state: State | None
    nbytes: int
    hold: Hold
    loading_seconds: float


class Part:
    """The faces of one shard. Any number of threads may ask.

    Args:
        store: the gallery; it is read and never written.
        shard, shards: which part of how many.
        hold: whether patches are kept in memory too.
        lives_here: whose faces these are; default: :func:`by_person`.
    """

    def __init__(
        self,
        store: Store,
        shard: int,
        shards: int,
        *,
        hold: Hold = "embeddings",
        lives_here: Assignment | None = None,
    ) -> None:
        if not 0 <= shard < shards:
            raise InputError(f"there is no shard {shard} of {shards}")
        header = store.header
        packed = codec(header.codec, header.grid, header.channels).payload_size
        self._store = store
        self._shard, self._shards, self._hold = shard, shards, hold
        self._follower = Follower(
            header.embedding_size,
            packed if hold == "patches" else 0,
            lives_here or by_person(shard, shards),
        )
        self._faces: Faces | None = None
        self._seconds = 0.0
        self._lock = threading.Lock()
        self._models: dict[str, PatchModel] = {}

    # How it stands

    def standing(self) -> Standing:
        """How it stands, without looking into the gallery."""
        faces = self._faces
        return Standing(
            self._shard,
            self._shards,
            0 if faces is None else len(faces),
            0 if faces is None else len(faces.names),
            None if faces is None else faces.state,
            0 if faces is None else faces.nbytes,
            self._hold,
            self._seconds,
        )

    def catch_up(self, at: State | None = None) -> Standing:
        """Be no older than a state; None: than the gallery is now.

        Raises:
            UnreachableGalleryError: the gallery's server cannot be reached, or is behind itself.
        """
        self._at_least(at)
        return self.standing()

    # Searching

    def shortlist(
        self,
        queries: Float32,
        k: int,
        at: State | None,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> Found:
        """The k faces of largest cosine among those of this part, for each of Q queries.

        Args:
            queries: (Q, D) float32 embeddings of length 1.
            k: at least 1.
            at: the state to answer for: faces of later ids are not found. None: as loaded,
                whatever the gallery holds by now.
            exclude: for each query the ids that must not be found.

        Raises:
            GalleryError: more has changed since that state than anybody remembers.
            InputError: as for :func:`faceflow.gallery.search.exact_search`.
        """
        left = np.empty(0, np.int64)
        if at is None:
            faces = self._loaded()
            revision = faces.state.revision
        else:
            faces = self._at_least(at)
            revision = faces.state.revision
            if revision.removals != at.revision.removals:
                left = self._left_since(at.revision)
            faces = faces.until(at.revision.last_face_id)
        found = exact_search(
            queries,
            faces.ids,
            faces.matrix,
            max(1, min(k, len(faces))),
            exclude,
            codes=faces.codes,
        )
        return Found(found.face_ids, found.cosine, revision, left)

    def score(
        self,
        query: FaceFeatures,
        face_ids: Int64,
        options: MatchOptions,
        at: State | None,
        *,
        flow: bool = False,
        digest: str | None = None,
    ) -> Scored:
        """Score those of the faces that are here, with what the gallery keeps of them.

        Args:
            query: one face.
            face_ids: (m,) ids.
            options: how; with the patch model, or without it where ``digest`` names it.
            at: the state that the ids are of, or an earlier one; None: as loaded.
            flow: keep the flows.
            digest: of the patch model that the options need.

        Raises:
            UnknownModelError: the model is not known here.
            UnreachableGalleryError: the gallery cannot be reached, and patches are not held.
        """
        if digest is not None:
            options = replace(options, model=self._model(digest, options.model))
        with self._reading(at) as (faces, view):
            rows = np.flatnonzero(faces.has(face_ids))
            here = _Here(self._store, faces, view)
            return Scored(rows, here.score(query, face_ids[rows], options, flow=flow))

    def names(self, face_ids: Int64) -> list[str]:
        """Whose faces these are, as far as is known without the gallery."""
        faces = self._loaded()
        if not faces.has(face_ids).all():
            raise GalleryError("a face has left this shard", todo="ask again")
        return [faces.names[person] for person in faces.people[faces.rows(face_ids)].tolist()]

    # Following the gallery

    def _loaded(self) -> Faces:
        return self._faces or self._at_least(None)

    def _at_least(self, at: State | None) -> Faces:
        """The faces in that state or a later one."""
        faces = self._faces
        if faces is None or at is None or not _serves(faces.state, at):
            with self._lock:
                faces = self._faces
                if faces is None or at is None or not _serves(faces.state, at):
                    with self._store.snapshot() as view:
                        faces = self._follow(view)
        if at is not None and _behind(faces.state.revision, at.revision):
            raise UnreachableGalleryError(
                f"shard {self._shard} of {self._shards} reads a gallery that is behind",
                why="it may read a standby server, or another gallery took its place",
                todo="let all machines read the primary server; after restoring a backup, drain "
                "the cluster and start it again",
            )
        return faces

    def _follow(self, view: StoreView) -> Faces:
        """Under the lock."""
        start = time.monotonic()
        first = self._faces is None
        self._faces = faces = self._follower.follow(view, self._faces)
        if first:
            self._seconds = time.monotonic() - start
        return faces

    def _left_since(self, revision: Revision) -> Int64:
        with self._store.snapshot() as view:
            parts = view.removed_since(revision), view.moved_since(revision)
        removed, moved = parts
        if removed is None or moved is None:
            raise GalleryError(
                "the gallery has changed too much while it was searched", todo="search again"
            )
        left = np.concatenate([removed, moved])
        return left[left <= revision.last_face_id]

    @contextlib.contextmanager
    def _reading(self, at: State | None) -> Iterator[tuple[Faces, StoreView]]:
        """Faces of one state, and what gives their patches in that state."""
        if self._hold == "patches":
            faces = self._loaded() if at is None else self._at_least(at)
            yield faces, cast("StoreView", _HeldPatches(faces, self._store))
            return
        with contextlib.ExitStack() as open_views:
            while True:
                view = open_views.enter_context(self._store.snapshot())
                with self._lock:
                    known = self._faces
                    # Another thread may have followed the gallery further than this view.
                    if known is None or not _behind(view.revision(), known.state.revision):
                        faces = self._follow(view)
                        break
            yield faces, view

    # Patch models

    def _model(self, digest: str, sent: PatchModel | None) -> PatchModel:
        if sent is not None:
            if len(self._models) >= _MODELS:
                self._models.pop(next(iter(self._models)))
            self._models[sent.digest] = sent
        elif digest not in self._models:
            header = self._store.header
            # The network's own, where its weights are on this machine.
            with contextlib.suppress(WeightsError):
                known = covers.load(header.network_name, header.digest)
                if known is not None:
                    self._models[known.digest] = known
        if digest not in self._models:
            raise UnknownModelError("this shard does not know the patch model")
        return self._models[digest]

    def close(self) -> None:
        """Let go of the gallery."""
        self._store.close()


def _serves(mine: State, wanted: State) -> bool:
    """Whether answers for a state can be given without looking into the gallery."""
    if mine == wanted:
        return True
    return mine.revision != wanted.revision and not _behind(mine.revision, wanted.revision)


def _behind(mine: Revision, wanted: Revision) -> bool:
    return mine.last_face_id < wanted.last_face_id or mine.removals < wanted.removals


class _Here(GalleryView):
    """The faces of a part as what :func:`faceflow.matching.score.rerank` reads from."""

    def __init__(self, store: Store, faces: Faces, view: StoreView) -> None:
        index = EmbeddingIndex(store.header.embedding_size)
        super().__init__(store.location, store.name, store.header, index, view)
        self._faces = faces

    def _embedding(self, store: StoreView, ids: list[int]) -> Float32:
        return self._faces.matrix[self._faces.rows(np.array(ids, np.int64))]


class _HeldPatches:
    """Patches out of memory; what else is asked for out of the gallery."""

    def __init__(self, faces: Faces, store: Store) -> None:
        self._faces = faces
        self._store = store

    def payloads(self, face_ids: Sequence[int]) -> list[bytes]:
        rows = self._faces.rows(np.array(face_ids, np.int64))
        return [row.tobytes() for row in self._faces.patches[rows]]

    def records(self, face_ids: Sequence[int]) -> list[FaceRecord]:
        with self._store.snapshot() as view:
            return view.records(face_ids)
