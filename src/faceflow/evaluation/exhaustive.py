"""EMD at stage 1 (paper Table S1) for whole query sets: every query against every face."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from faceflow.arrays import Float64, Int64
from faceflow.evaluation.data.protocols import Protocol
from faceflow.evaluation.faces import Features, PreparedGallery
from faceflow.evaluation.metrics.mates import MateRanks
from faceflow.evaluation.ranking_cache import Block, BlockCache
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import prepare, rerank
from faceflow.matching.transport import Status

# Queries of one block, and gallery faces read for them at a time (34 MB as float32).
_QUERIES = 16
_FACES = 1024


@dataclass(frozen=True, slots=True, eq=False)
class EmdRanks:
    """Ranks of each query's mates among the best by EMD alone.

    Attributes:
        ranks: of mates among the best ``depth``; those further down are not listed.
        depth: at least R of every query, so P@1, R-precision and MAP@R are exact.
        pairs: transports solved.
        unconverged: those that met the iteration cap.
    """

    ranks: MateRanks
    depth: int
    pairs: int
    unconverged: int


def rank_by_emd(
    queries: Features,
    gallery: Features,
    protocol: Protocol,
    options: MatchOptions,
    *,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EmdRanks:
    """Rank a protocol's gallery by EMD alone; arguments as for :func:`ranking.rank`.

    Raises:
        InputError: as for :func:`ranking.rank`.
    """
    depth = max(options.k, int(protocol.relevant.max()))
    emd_alone = replace(options, alpha=1.0, visible_share=0.0)
    store = None
    if cache is not None:
        store = BlockCache(cache, gallery, protocol, options, sys.modules[__name__])
    ready: PreparedGallery | None = None
    blocks: list[Block] = []
    for start in range(0, len(protocol), _QUERIES):
        chosen = np.arange(start, min(start + _QUERIES, len(protocol)))
        key = "" if store is None else f"{store.key(chosen, queries)}-first-{depth}"
        block = None if store is None else store.load(key)
        if block is None:
            ready = ready or PreparedGallery(gallery, emd_alone)
            block = _block(queries, ready, protocol, chosen, emd_alone, depth)
            if store is not None:
                store.save(key, block)
        blocks.append(block)
        if progress is not None:
            progress(int(chosen[-1]) + 1, len(protocol))
    found = np.concatenate([block.found for block in blocks])
    ranks = np.concatenate([block.ranks for block in blocks])
    start_of = np.concatenate([[0], np.cumsum(found)]).astype(np.int64)
    excluded = np.diff(protocol.excluded_start)
    return EmdRanks(
        MateRanks(start_of, ranks, protocol.relevant),
        depth,
        int((len(protocol.gallery) - excluded).sum()),
        sum(block.unconverged for block in blocks),
    )


def _block(
    queries: Features,
    gallery: PreparedGallery,
    protocol: Protocol,
    chosen: Int64,
    emd_alone: MatchOptions,
    depth: int,
) -> Block:
    asked = prepare(queries[protocol.queries[chosen]], emd_alone)
    best: list[list[tuple[Int64, Float64]]] = [[] for _ in chosen]
    unconverged = 0
    for start in range(0, len(protocol.gallery), _FACES):
        rows = protocol.gallery[start : start + _FACES]
        faces = gallery[rows]
        for n in range(len(chosen)):
            found = rerank(asked[n], faces, emd_alone)
            assert found.plan is not None
            keep = ~np.isin(rows, protocol.excluded_rows(int(chosen[n])))
            best[n].append(_best(rows[keep], found.score[keep], depth))
            unconverged += int((found.plan.status[keep] == Status.MAX_ITERATIONS).sum())
    ids = np.full((len(chosen), depth), -1, dtype=np.int64)
    similarity = np.full((len(chosen), depth), np.nan)
    ranks: list[Int64] = []
    for n, parts in enumerate(best):
        some = np.concatenate([np.empty(0, dtype=np.int64), *(part[0] for part in parts)])
        scores = np.concatenate([np.empty(0), *(part[1] for part in parts)])
        some, scores = _best(some, scores, depth)
        ids[n, : len(some)], similarity[n, : len(some)] = some, scores
        mates = protocol.mate_rows(int(chosen[n]))
        ranks.append(np.flatnonzero(np.isin(ids[n], mates)) + 1)
    return Block(
        faces=ids,
        cosine=np.full(ids.shape, np.nan),
        emd=similarity,
        visible_cosine=np.full(ids.shape, np.nan),
        found=np.array([len(some) for some in ranks], dtype=np.int64),
        ranks=np.concatenate([*ranks, np.empty(0, dtype=np.int64)]),
        unconverged=unconverged,
    )


def _best(rows: Int64, similarity: Float64, depth: int) -> tuple[Int64, Float64]:
    """The most similar faces, best first, ties by row: no answer depends on the blocks."""
    order = np.lexsort((rows, -similarity))[:depth]  # NaN comes last
    return rows[order], similarity[order]
