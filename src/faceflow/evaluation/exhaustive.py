"""EMD at stage 1 (paper Table S1) for whole query sets: every query against every face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from faceflow.arrays import Float64, Int64
from faceflow.errors import InputError
from faceflow.evaluation.data.protocols import Protocol
from faceflow.evaluation.faces import Features
from faceflow.evaluation.metrics.mates import MateRanks
from faceflow.evaluation.ranking_cache import Block, BlockCache
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import prepare, rerank
from faceflow.matching.transport import RefinedSinkhorn, Status

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
        InputError: as for :func:`ranking.rank`, or the solver refines the best of each call,
            so that a score would depend on how the gallery is cut into blocks.
    """
    if isinstance(options.solver, RefinedSinkhorn):
        raise InputError(
            "a gallery cannot be ranked with a refining solver",
            why="it refines the best of each call, so scores would depend on the blocks",
            todo="use Sinkhorn with one dtype",
        )
    depth = max(options.k, int(protocol.relevant.max()))
    store = None if cache is None else BlockCache(cache, gallery, protocol, options)
    blocks: list[Block] = []
    for start in range(0, len(protocol), _QUERIES):
        chosen = np.arange(start, min(start + _QUERIES, len(protocol)))
        some = queries[protocol.queries[chosen]]
        key = "" if store is None else f"{store.key(chosen, some)}-first-{depth}"
        block = None if store is None else store.load(key)
        if block is None:
            block = _block(queries, gallery, protocol, chosen, options, depth)
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
    gallery: Features,
    protocol: Protocol,
    chosen: Int64,
    options: MatchOptions,
    depth: int,
) -> Block:
    emd_alone = replace(options, alpha=1.0, visible_share=0.0)
    asked = [prepare(queries[protocol.queries[n : n + 1]], emd_alone) for n in chosen]
    best: list[list[tuple[Int64, Float64]]] = [[] for _ in chosen]
    unconverged = 0
    for start in range(0, len(protocol.gallery), _FACES):
        rows = protocol.gallery[start : start + _FACES]
        faces = prepare(gallery[rows], emd_alone)
        for n, query in enumerate(asked):
            keep = np.flatnonzero(~np.isin(rows, protocol.excluded_rows(int(chosen[n]))))
            if not len(keep):
                continue
            found = rerank(query, faces[keep], emd_alone)
            assert found.plan is not None
            best[n].append(_best(rows[keep], found.score, depth))
            unconverged += int((found.plan.status == Status.MAX_ITERATIONS).sum())
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
