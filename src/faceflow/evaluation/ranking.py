"""Two-stage rankings of whole query sets, as identification makes them.

Stage 1 orders every enrolled face by cosine, stage 2 re-orders the top k by
``alpha * emd + (1 - alpha) * cosine``; the rest keep stage 1's order. What is kept per query is
small: the top k, and the ranks of its mates in the whole ranking. Because alpha only mixes two
kept numbers, every alpha can be read off one run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceflow.arrays import Bools, Float32, Float64, Int64
from faceflow.errors import InputError
from faceflow.evaluation.data.protocols import Protocol
from faceflow.evaluation.faces import Features, PreparedGallery
from faceflow.evaluation.metrics.mates import NEVER, MateRanks
from faceflow.evaluation.metrics.open_set import Searches
from faceflow.evaluation.ranking_cache import Block, BlockCache
from faceflow.features import require_comparable
from faceflow.gallery.search import exact_search
from faceflow.matching.options import MatchOptions, check_alpha
from faceflow.matching.score import combine, prepare, rerank
from faceflow.matching.transport import Status

Progress = Callable[[int, int], None]
"""Called with (queries done, queries in all)."""

# Queries of one block: the unit of progress and of resuming.
_QUERIES = 64
# Similarities held at a time: 64 MB.
_SCORES = 8_000_000
# Gallery faces widened to float64 at a time.
_FACES = 16_384
# The float64 product below and exact_search round differently by 1e-14 at most; whatever lies
# nearer than this is ordered by exact_search.
_NEAR = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """The rankings of Q queries.

    Attributes:
        faces: (Q, k) gallery rows of stage 1's best, best first; -1 where there are fewer.
        cosine: (Q, k) stage 1's score; NaN where ``faces`` is -1.
        emd: (Q, k) EMD similarity; NaN where it was not computed.
        visible_cosine: (Q, k) cosine of the visible faces; NaN where it was not computed.
        mate: (Q, k) whether the face is the query's person.
        stage1: ranks of all mates in stage 1's whole ranking.
        alpha: share of the EMD in stage 2's score, unless a method is given another.
        visible_share: share of ``visible_cosine`` in the cosine term of stage 2's score.
        unconverged: pairs whose transport stopped at the iteration cap.
    """

    faces: Int64
    cosine: Float64
    emd: Float64
    visible_cosine: Float64
    mate: Bools
    stage1: MateRanks
    alpha: float
    unconverged: int
    visible_share: float = 0.0

    def __len__(self) -> int:
        return len(self.faces)

    def scores(self, alpha: float | None = None) -> Float64:
        """(Q, k) stage 2's score of each face, minus infinity where there is none.

        With alpha 0 and no visible faces' cosine it is stage 1's.

        Raises:
            InputError: alpha is out of range, or above 0 when no EMD was computed.
        """
        share = self.alpha if alpha is None else alpha
        check_alpha(share)
        listed = self.faces >= 0
        if share > 0 and listed.any() and np.isnan(self.emd[listed]).all():
            raise InputError(
                "no EMD was computed for these rankings",
                why="they were made with alpha 0",
                todo="rank again with alpha above 0",
            )
        score = combine(
            self.cosine,
            self.emd,
            self.visible_cosine,
            alpha=share,
            visible_share=self.visible_share,
        )
        return np.where(listed & ~np.isnan(score), score, -np.inf)

    def order(self, alpha: float | None = None) -> Int64:
        """(Q, k) stage 2's order: positions in ``faces``, best first, ties in stage 1's order."""
        return np.argsort(-self.scores(alpha), axis=1, kind="stable")

    def stage2(self, alpha: float | None = None) -> MateRanks:
        """Ranks of all mates after re-ranking."""
        order = self.order(alpha)
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.arange(order.shape[1])[None], axis=1)
        ranks, query = self.stage1.ranks.copy(), self.stage1.query
        moved = ranks <= order.shape[1]
        ranks[moved] = place[query[moved], ranks[moved] - 1] + 1
        return MateRanks(self.stage1.start, ranks[np.lexsort((ranks, query))], self.stage1.relevant)

    def searches(self, mated: Bools, alpha: float | None = None) -> Searches:
        """What each query's search returned, for open-set metrics: at most k faces, as a
        user would see them.

        Args:
            mated: (Q,) ``Protocol.mated``.
            alpha: share of the EMD; 0 measures stage 1.

        Raises:
            InputError: there are searches of one kind only.
        """
        order = self.order(alpha)
        score = np.take_along_axis(self.scores(alpha), order, axis=1)
        right = np.take_along_axis(self.mate, order, axis=1)
        found = right.any(axis=1)
        best = right.argmax(axis=1)
        return Searches(
            mated=mated,
            top=score[:, 0],
            mate=np.where(found, score[np.arange(len(score)), best], -np.inf),
            rank=np.where(found, best + 1, NEVER),
        )


def rank(
    queries: Features,
    gallery: Features,
    protocol: Protocol,
    options: MatchOptions,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Rankings:
    """Rank a protocol's gallery for each of its queries.

    Memory holds the enrolled embeddings, one block of queries, and the enrolled patches up to a
    gigabyte of them; beyond, patches are fetched for the shortlists alone.

    Args:
        queries: features of the query sequence the protocol was made from.
        gallery: features of its gallery sequence.
        protocol: who is enrolled and what is excluded.
        options: alpha, weighting, k, grid and solver. With alpha 0 no transport is solved.
        cache: a folder where each finished block of queries is kept, so that a run that was
            stopped goes on where it was. A block is found again by a digest of everything it
            depends on, so other inputs or options never meet a wrong one.
        progress: called after each block.

    Raises:
        InputError: features and protocol do not belong together, or ``cache`` is given with a
            solver that has no name (no dataclass).
        GalleryMismatchError: queries and gallery come from different networks or detectors.
    """
    _check(queries, gallery, protocol)
    enrolled = gallery.embedding
    if len(protocol.gallery) < len(enrolled):
        enrolled = enrolled[protocol.gallery]
    store = None
    if cache is not None:
        store = BlockCache(cache, gallery, protocol, options, sys.modules[__name__])
    ready: PreparedGallery | None = None
    step = min(_QUERIES, max(1, _SCORES // len(enrolled)))
    blocks: list[Block] = []
    for start in range(0, len(protocol), step):
        chosen = np.arange(start, min(start + step, len(protocol)))
        key = None if store is None else store.key(chosen, queries)
        block = None if store is None or key is None else store.load(key)
        if block is None:
            ready = ready or PreparedGallery(gallery, options)
            block = _block(queries, ready, enrolled, protocol, chosen, options)
            if store is not None and key is not None:
                store.save(key, block)
        blocks.append(block)
        if progress is not None:
            progress(int(chosen[-1]) + 1, len(protocol))
    return _together(blocks, protocol, options)


def _check(queries: Features, gallery: Features, protocol: Protocol) -> None:
    if not len(protocol):
        raise InputError("the protocol holds no query")
    for name, features, rows in (
        ("query", queries, protocol.queries),
        ("gallery", gallery, protocol.gallery),
    ):
        if rows.max() >= len(features):
            raise InputError(
                f"there are {len(features):,} {name} features",
                why=f"the protocol speaks of {name} row {rows.max()}",
                todo="give the features of the photos the protocol was made from, in their order",
            )
    if queries.embedding.shape[1] != gallery.embedding.shape[1]:
        raise InputError("queries and gallery come from different networks")
    require_comparable(queries.digest, gallery.digest, ("the queries", "the gallery"))


def _together(blocks: list[Block], protocol: Protocol, options: MatchOptions) -> Rankings:
    faces = np.concatenate([block.faces for block in blocks])
    at = np.searchsorted(protocol.gallery, faces).clip(max=len(protocol.gallery) - 1)
    mate = protocol.gallery_people[at] == protocol.query_people[:, None]
    lengths = np.concatenate([block.found for block in blocks])
    return Rankings(
        faces=faces,
        cosine=np.concatenate([block.cosine for block in blocks]),
        emd=np.concatenate([block.emd for block in blocks]),
        visible_cosine=np.concatenate([block.visible_cosine for block in blocks]),
        mate=mate & (faces >= 0),
        stage1=MateRanks(
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([block.ranks for block in blocks]),
            protocol.relevant,
        ),
        alpha=options.alpha,
        unconverged=sum(block.unconverged for block in blocks),
        visible_share=options.visible_share,
    )


def _block(
    queries: Features,
    gallery: PreparedGallery,
    enrolled: Float32,
    protocol: Protocol,
    chosen: Int64,
    options: MatchOptions,
) -> Block:
    """Rank for a block of queries; ``chosen`` are their numbers in the protocol."""
    excluded = [protocol.excluded_rows(int(n)).tolist() for n in chosen]
    rows = protocol.queries[chosen]
    embedding = queries.embedding[rows]
    shortlist = exact_search(embedding, protocol.gallery, enrolled, options.k, excluded)
    emd = np.full(shortlist.cosine.shape, np.nan)
    visible_cosine = np.full(shortlist.cosine.shape, np.nan)
    unconverged = 0
    if not options.stage1_alone:
        prepared = prepare(queries[rows], options)
        for n in range(len(chosen)):
            listed = shortlist.face_ids[n][shortlist.face_ids[n] >= 0]
            if not len(listed):
                continue
            found = rerank(prepared[n], gallery[listed], options)
            if found.visible_cosine is not None:
                visible_cosine[n, : len(listed)] = found.visible_cosine
            if found.emd is not None and found.plan is not None:
                emd[n, : len(listed)] = found.emd
                unconverged += int((found.plan.status == Status.MAX_ITERATIONS).sum())
    ranks = _mate_ranks(embedding, enrolled, protocol, chosen, shortlist.face_ids)
    return Block(
        faces=shortlist.face_ids,
        cosine=shortlist.cosine,
        emd=emd,
        visible_cosine=visible_cosine,
        found=np.array([len(some) for some in ranks], dtype=np.int64),
        ranks=np.concatenate([*ranks, np.empty(0, dtype=np.int64)]),
        unconverged=unconverged,
    )


def _mate_ranks(
    embedding: Float32, enrolled: Float32, protocol: Protocol, chosen: Int64, faces: Int64
) -> list[Int64]:
    """Each query's mates' ranks in the whole of stage 1, ascending.

    Those in the shortlist stand where it has them. Only queries with mates further down need
    the whole ranking, and of it only how many faces are nearer.
    """
    mates = [protocol.mate_rows(int(n)) for n in chosen]
    ranks = [
        np.flatnonzero(np.isin(listed, rows)) + 1 for listed, rows in zip(faces, mates, strict=True)
    ]
    deep = [n for n, rows in enumerate(mates) if len(ranks[n]) < len(rows)]
    if not deep:
        return ranks
    cosine = _cosine(embedding[deep], enrolled)
    for scores, n in zip(cosine, deep, strict=True):
        scores[np.searchsorted(protocol.gallery, protocol.excluded_rows(int(chosen[n])))] = -np.inf
        below = np.setdiff1d(mates[n], faces[n], assume_unique=True)
        deeper = _ranks_of(below, scores, embedding[n], enrolled, protocol.gallery)
        ranks[n] = np.sort(np.concatenate([ranks[n], deeper]))
    return ranks


def _cosine(queries: Float32, enrolled: Float32) -> Float64:
    """(Q, G) cosine in float64, in blocks over the gallery."""
    wide = _unit64(queries)
    cosine = np.empty((len(queries), len(enrolled)))
    for start in range(0, len(enrolled), _FACES):
        part = _unit64(enrolled[start : start + _FACES])
        np.matmul(wide, part.T, out=cosine[:, start : start + _FACES])
    return cosine


def _unit64(vectors: Float32) -> Float64:
    wide = vectors.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(length > 0, length, 1.0))


def _ranks_of(
    rows: Int64, scores: Float64, query: Float32, enrolled: Float32, gallery: Int64
) -> Int64:
    """Ranks of some gallery rows, given every face's score for one query."""
    ordered = np.sort(scores)
    own = scores[np.searchsorted(gallery, rows)]
    above = len(ordered) - np.searchsorted(ordered, own + _NEAR, side="right")
    near = len(ordered) - np.searchsorted(ordered, own - _NEAR, side="left") - above
    ranks = above + 1
    for n in np.flatnonzero(near > 1):
        alike = np.flatnonzero(np.abs(scores - own[n]) <= _NEAR)
        exact = exact_search(query[None], gallery[alike], enrolled[alike], len(alike))
        ranks[n] += int(np.flatnonzero(exact.face_ids[0] == rows[n])[0])
    return np.asarray(ranks, dtype=np.int64)
