"""A gallery whose searching and scoring is done by shards, and nothing else.

Its rows stay where they are, in a file or in PostgreSQL: names, records, pictures and changes go
there as ever. Each search is one state of the gallery, the one its snapshot shows: shards answer
for that state, and what has left them since is looked at here, out of the snapshot. So an answer is
the single gallery's to the last bit, whatever others write meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from faceflow.arrays import Int64
from faceflow.cluster.faces import State, shard_of
from faceflow.cluster.merging import best, joined
from faceflow.cluster.part import Found, Scored, UnknownModelError
from faceflow.cluster.replicas import Ask, Shards
from faceflow.errors import (
    FaceflowError,
    GalleryError,
    IncompleteGalleryError,
    UnreachableGalleryError,
)
from faceflow.features import FaceFeatures
from faceflow.gallery.gallery import Gallery
from faceflow.gallery.identity import require_features
from faceflow.gallery.reading import GalleryView, flat_ids
from faceflow.gallery.records import Change, Enrolment, EnrolReport
from faceflow.gallery.search import (
    LONGEST_PADDED,
    EmbeddingIndex,
    check_search,
    exact_search,
)
from faceflow.gallery.stores.store import Revision, Store, StoreView
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import PreparedFaces, Reranked
from faceflow.matching.shortlist import Coverage, Shortlist

_ROUNDS = 20
"""How often shards are asked again because others changed the gallery meanwhile."""

ShardsOf = Callable[[Int64], Int64]


class ShardedGallery(Gallery):
    """A gallery in front of shards; use it like any other :class:`faceflow.gallery.Gallery`.

    Args:
        store: the gallery's rows, which the shards read too.
        shards: who searches and scores.
        allow_partial: where a shard is gone, answer from the others; the answer's
            :class:`faceflow.matching.shortlist.Coverage` says which are missing. Without, that is
            an IncompleteGalleryError.
        allow_stale: where the gallery's server cannot be reached, answer from what the shards
            have loaded; the coverage says so. Without, that is an UnreachableGalleryError.
        shards_of: the shard of each person, as the shards see it; default
            :func:`faceflow.cluster.faces.shard_of`.
    """

    def __init__(
        self,
        store: Store,
        shards: Shards,
        *,
        allow_partial: bool = False,
        allow_stale: bool = False,
        shards_of: ShardsOf | None = None,
    ) -> None:
        super().__init__(store)
        self._shards = shards
        self._allow_partial = allow_partial
        self._allow_stale = allow_stale
        self._shards_of = shards_of or (lambda people: shard_of(people, len(shards)))
        self._last_settings: dict[str, Any] = {}
        if allow_stale:
            _ = self.settings

    @property
    def shards(self) -> Shards:
        """Who searches and scores."""
        return self._shards

    @property
    def settings(self) -> dict[str, Any]:
        """A copy of the gallery's own settings; the last ones known where stale answers are."""
        try:
            self._last_settings = found = super().settings
        except UnreachableGalleryError:
            if not self._allow_stale:
                raise
            return dict(self._last_settings)
        return dict(found)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[GalleryView]:
        """See :meth:`faceflow.gallery.ReadableGallery.snapshot`."""
        with contextlib.ExitStack() as stack:
            try:
                store = stack.enter_context(self._store.snapshot())
                view: GalleryView = ShardedView(self, store, State.of(store))
            except UnreachableGalleryError as error:
                if not self._allow_stale:
                    raise
                view = StaleView(self, error)
            yield view

    def search(
        self,
        features: FaceFeatures,
        k: int,
        *,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> Shortlist:
        """See :meth:`faceflow.gallery.ReadableGallery.search`."""
        with self.snapshot() as view:
            return view.search(features, k, exclude=exclude)

    def score(
        self,
        query: FaceFeatures | PreparedFaces,
        face_ids: Sequence[int] | Int64,
        options: MatchOptions,
        *,
        flow: bool = False,
    ) -> Reranked:
        """See :meth:`faceflow.gallery.ReadableGallery.score`."""
        with self.snapshot() as view:
            return view.score(query, face_ids, options, flow=flow)

    # Changing: as ever, and then every replica is brought to the new state.

    def enroll(
        self,
        items: Iterable[Enrolment],
        *,
        batch: int = 64,
        on_commit: Callable[[EnrolReport], None] | None = None,
    ) -> EnrolReport:
        """See :meth:`faceflow.gallery.Gallery.enroll`; the shards have the faces when it returns.

        A replica that does not answer then has them before it answers the next search.
        """
        report = super().enroll(items, batch=batch, on_commit=on_commit)
        self._spread()
        return report

    def remove_face(self, face_id: int) -> Change:
        """See :meth:`faceflow.gallery.Gallery.remove_face`; erased from all shards too."""
        return self._spread_change(super().remove_face(face_id))

    def remove_person(self, person: str | int) -> Change:
        """See :meth:`faceflow.gallery.Gallery.remove_person`; erased from all shards too."""
        return self._spread_change(super().remove_person(person))

    def rename(self, old: str | int, new: str) -> Change:
        """See :meth:`faceflow.gallery.Gallery.rename`."""
        return self._spread_change(super().rename(old, new))

    def merge(self, source: str | int, target: str | int) -> Change:
        """See :meth:`faceflow.gallery.Gallery.merge`."""
        return self._spread_change(super().merge(source, target))

    def move_faces(self, face_ids: Sequence[int] | Int64, person: str) -> Change:
        """See :meth:`faceflow.gallery.Gallery.move_faces`."""
        return self._spread_change(super().move_faces(face_ids, person))

    def update_settings(self, values: Mapping[str, Any]) -> None:
        """See :meth:`faceflow.gallery.Gallery.update_settings`."""
        super().update_settings(values)
        self._spread()

    def _spread(self) -> list[str]:
        """Bring all replicas to the gallery's state; names of those that are not there."""
        with self._store.snapshot() as view:
            state = State.of(view)
        told = self._shards.tell(Ask("catch_up", (state,)))
        return [name for name, reply in told.items() if isinstance(reply, Exception)]

    def _spread_change(self, change: Change) -> Change:
        silent = self._spread()
        if not silent:
            return change
        left = tuple(f"memory of {name}, which does not answer" for name in silent)
        return replace(change, erased=False, remains=change.remains + left)

    # What the views share

    def ask(self, asks: Mapping[int, Ask]) -> dict[int, Any]:
        """Ask shards; a shard that is gone is a missing entry, where that is allowed.

        Raises:
            IncompleteGalleryError: a shard is gone.
        """
        found = {}
        for shard, reply in self._shards.ask(asks).items():
            if not isinstance(reply, FaceflowError):
                found[shard] = reply
            elif not isinstance(reply, IncompleteGalleryError) or not self._allow_partial:
                raise reply
        if not found:
            raise IncompleteGalleryError(
                "no shard of the gallery answers",
                todo="see `faceflow cluster status`; start the shards again with `faceflow cluster "
                "start`",
            )
        return found

    def shards_of(self, people: Int64) -> Int64:
        """The shard of each person."""
        return self._shards_of(people)


class ShardedView(GalleryView):
    """One state of a gallery in front of shards; from :meth:`ShardedGallery.snapshot`."""

    def __init__(self, gallery: ShardedGallery, store: StoreView, state: State) -> None:
        index = EmbeddingIndex(gallery.header.embedding_size)
        super().__init__(gallery.location, gallery.name, gallery.header, index, store)
        self._gallery = gallery
        self._state = state

    def search(
        self,
        features: FaceFeatures,
        k: int,
        *,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> Shortlist:
        """See :meth:`faceflow.gallery.ReadableGallery.search`."""
        require_features(self.name, self._header, features)
        queries = features.embedding
        wanted: Any = k
        longest = isinstance(wanted, (int, np.integer)) and wanted > LONGEST_PADDED
        check_search(queries, k, self._store.count() if longest else 0, exclude)
        excluded = [set(one) for one in exclude] if exclude is not None else None
        shards = range(len(self._gallery.shards))
        found: dict[int, Found] = {}
        left: set[int] = set()
        asking: Collection[int] = shards
        for _ in range(_ROUNDS):
            # Who has left a shard since this state may be there, or elsewhere, or nowhere.
            without = excluded
            if left:
                without = [one | left for one in excluded or [set()] * len(queries)]
            args = (queries, k, self._state, without)
            asked = self._gallery.ask({one: Ask("shortlist", args) for one in asking})
            for shard in asking:
                found.pop(shard, None)
            found |= asked
            new = {int(i) for one in asked.values() for i in one.left} - left
            left |= new
            if not new:
                break
            asking = [one for one, part in found.items() if np.isin(part.face_ids, [*left]).any()]
            if not asking:
                break
        else:
            raise GalleryError(
                "the gallery has changed all the time while it was searched", todo="search again"
            )
        parts = [(one.face_ids, one.cosine) for one in found.values()]
        if left:
            ids = sorted(left)
            matrix = self._store.embeddings_of(ids)
            here = np.array(ids, np.int64)
            gone = exact_search(queries, here, matrix, min(k, len(ids)), excluded)
            parts.append((gone.face_ids, gone.cosine))
        face_ids, cosine = best(parts, len(queries), k)
        revisions = tuple(found[one].revision if one in found else None for one in shards)
        return Shortlist(face_ids, cosine, Coverage(revisions))

    def score(
        self,
        query: FaceFeatures | PreparedFaces,
        face_ids: Sequence[int] | Int64,
        options: MatchOptions,
        *,
        flow: bool = False,
    ) -> Reranked:
        """See :meth:`faceflow.gallery.ReadableGallery.score`.

        Faces that are with no shard any more are scored here, out of the snapshot.
        """
        ids = flat_ids(face_ids)
        if not ids or not isinstance(query, FaceFeatures) or len(query) != 1:
            return super().score(query, ids, options, flow=flow)
        options.require_model()
        wanted = np.array(ids, np.int64)
        owners = self._gallery.shards_of(self._store.owners_of(ids))
        replies = _scores(self._gallery, query, wanted, owners, options, self._state, flow)
        parts: list[tuple[Int64, Reranked]] = []
        for at, reply in replies:
            if isinstance(reply, Scored):
                parts.append((at[reply.at], reply.scores))
        scored = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
        here = np.setdiff1d(np.arange(len(ids)), scored)
        if len(here):
            parts.append((here, super().score(query, wanted[here], options, flow=flow)))
        return joined(parts, len(ids))


class StaleView(GalleryView):
    """What the shards have loaded, while the gallery's server cannot be reached.

    It searches and names; scores need shards that hold patches. All else raises the error
    that the server gave.
    """

    def __init__(self, gallery: ShardedGallery, error: GalleryError) -> None:
        index = EmbeddingIndex(gallery.header.embedding_size)
        away = cast("StoreView", _Away(error))
        super().__init__(gallery.location, gallery.name, gallery.header, index, away)
        self._gallery = gallery
        self._places: dict[int, int] = {}

    def search(
        self,
        features: FaceFeatures,
        k: int,
        *,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> Shortlist:
        """See :meth:`faceflow.gallery.ReadableGallery.search`."""
        require_features(self.name, self._header, features)
        queries = features.embedding
        check_search(queries, k, 0, exclude)
        shards = range(len(self._gallery.shards))
        args = (queries, k, None, exclude)
        found = self._gallery.ask({shard: Ask("shortlist", args) for shard in shards})
        revisions: list[Revision] = [one.revision for one in found.values()]
        if len(set(revisions)) > 1:
            raise UnreachableGalleryError(
                "the shards have loaded different states of the gallery, and its server cannot be "
                "reached",
                why="it went away in the midst of a change",
                todo="search again when the server is back",
            )
        parts = [(one.face_ids, one.cosine) for one in found.values()]
        for shard, one in found.items():
            self._places |= dict.fromkeys(one.face_ids[one.face_ids >= 0].tolist(), shard)
        face_ids, cosine = best(parts, len(queries), k)
        coverage = tuple(found[one].revision if one in found else None for one in shards)
        return Shortlist(face_ids, cosine, Coverage(coverage, stale=True))

    def person_of(self, face_ids: Sequence[int] | Int64) -> list[str]:
        """Names of faces that this view has found, as far as is known."""
        wanted = np.array(flat_ids(face_ids), np.int64)
        places = self._places_of(wanted)
        names = np.empty(len(wanted), object)
        groups = _groups(places)
        asks = {shard: Ask("names", (wanted[at],)) for shard, at in groups.items()}
        for shard, found in self._gallery.ask(asks).items() if asks else ():
            names[groups[shard]] = found
        return [str(name) for name in names]

    def score(
        self,
        query: FaceFeatures | PreparedFaces,
        face_ids: Sequence[int] | Int64,
        options: MatchOptions,
        *,
        flow: bool = False,
    ) -> Reranked:
        """Scores by shards that hold patches.

        Raises:
            UnreachableGalleryError: they do not hold them.
        """
        ids = flat_ids(face_ids)
        if not ids or not isinstance(query, FaceFeatures):
            return super().score(query, ids, options, flow=flow)
        options.require_model()
        wanted = np.array(ids, np.int64)
        places = self._places_of(wanted)
        parts = []
        for at, reply in _scores(self._gallery, query, wanted, places, options, None, flow):
            if isinstance(reply, UnreachableGalleryError):
                raise UnreachableGalleryError(
                    reply.what,
                    why="patches are read from there, for the shards do not hold them",
                    todo="rank by the embeddings alone (alpha 0), or start the cluster with --hold "
                    "patches",
                )
            if isinstance(reply, FaceflowError):
                raise reply
            parts.append((at[reply.at], reply.scores))
        return joined(parts, len(ids))

    def _places_of(self, face_ids: Int64) -> Int64:
        if not all(one in self._places for one in face_ids.tolist()):
            raise GalleryError("a stale view knows the faces that it has found, and no others")
        return np.array([self._places[one] for one in face_ids.tolist()], np.int64)


def _groups(shards: Int64) -> dict[int, Int64]:
    """Shard -> where it stands."""
    return {int(shard): np.flatnonzero(shards == shard) for shard in np.unique(shards)}


def _scores(
    gallery: ShardedGallery,
    query: FaceFeatures,
    face_ids: Int64,
    shards: Int64,
    options: MatchOptions,
    state: State | None,
    flow: bool,
) -> list[tuple[Int64, Scored | FaceflowError]]:
    """For each shard which of the faces it was asked about, and its answer."""
    # The model is large and the same every time: its name goes along, and it where it is asked for.
    digest = options.model_digest
    groups = _groups(shards)

    def asked(chosen: MatchOptions) -> dict[int, Any]:
        more = {"flow": flow, "digest": digest}
        return gallery.shards.ask(
            {
                shard: Ask("score", (query, face_ids[at], chosen, state), more)
                for shard, at in groups.items()
            }
        )

    try:
        replies = asked(replace(options, model=None))
    except UnknownModelError:
        replies = asked(options)
    return [(groups[shard], reply) for shard, reply in replies.items()]


class _Away:
    """In the place of a view of a store that cannot be reached."""

    def __init__(self, error: GalleryError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error
