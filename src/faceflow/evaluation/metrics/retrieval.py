"""Retrieval metrics, one value per query, from the ranks of each query's mates.

R is the number of relevant gallery faces of a query and c(i) tells whether rank i holds one:

    P@1          c(1)
    R-precision  sum of c(i) over i <= R, over R
    MAP@R        sum of c(i) * precision at i over i <= R, over R
    CMC(k)       share of queries with a mate at rank k or better
    recall@k     whether a mate stands in the top k: for stage 1 with k = the shortlist's
                 length, the mean is the P@1 no re-ranking can exceed

as in the paper's code (``utils/metrics.py``; MAP@R after arXiv 2003.08505). Values per query,
not means, so that confidence intervals and paired tests see what they need.
"""

from __future__ import annotations

import numpy as np

from faceflow.arrays import Bools, Float64, Int64
from faceflow.errors import InputError
from faceflow.evaluation.metrics.mates import MateRanks


def precision_at_1(ranks: MateRanks) -> Bools:
    """(Q,) whether the first answer is right."""
    return recall_at(ranks, 1)


def r_precision(ranks: MateRanks) -> Float64:
    """(Q,) share of the top R that is right."""
    _require_relevant(ranks)
    return _total(ranks, _within(ranks).astype(np.float64)) / ranks.relevant


def map_at_r(ranks: MateRanks) -> Float64:
    """(Q,) mean over the top R of precision at each right answer, wrong ones counting 0."""
    _require_relevant(ranks)
    found = np.arange(len(ranks.ranks)) - ranks.start[ranks.query] + 1
    return _total(ranks, np.where(_within(ranks), found / ranks.ranks, 0.0)) / ranks.relevant


def recall_at(ranks: MateRanks, k: int) -> Bools:
    """(Q,) whether a mate stands at rank k or better."""
    _require_relevant(ranks)
    if k < 1:
        raise InputError(f"k is {k}", why="ranks begin at 1")
    return ranks.first <= k


def cmc(ranks: MateRanks, depth: int) -> Float64:
    """(depth,) cumulative match characteristic: entry i is the share found by rank i + 1."""
    _require_relevant(ranks)
    if depth < 1:
        raise InputError(f"depth is {depth}", why="ranks begin at 1")
    first = ranks.first
    counts: Int64 = np.bincount(first[first <= depth], minlength=depth + 1)[1:]
    return np.cumsum(counts) / len(ranks)


def ceiling(ranks: MateRanks) -> Float64:
    """(Q,) the R-precision (and MAP@R) a perfect ranking would reach.

    Below 1 only where R counts what can never be found, as the published rule does: its mean
    over LFW-1680 is 0.8169.
    """
    _require_relevant(ranks)
    return np.diff(ranks.start) / ranks.relevant


def _within(ranks: MateRanks) -> Bools:
    """(T,) whether a mate stands within its query's top R."""
    return ranks.ranks <= ranks.relevant[ranks.query]


def _total(ranks: MateRanks, values: Float64) -> Float64:
    total = np.bincount(ranks.query, weights=values, minlength=len(ranks))
    return np.asarray(total, dtype=np.float64)


def _require_relevant(ranks: MateRanks) -> None:
    if not len(ranks):
        raise InputError("there is no query to measure")
    lonely = int((ranks.relevant < 1).sum())
    if lonely:
        raise InputError(
            f"{lonely:,} of {len(ranks):,} queries have no face of their person to find",
            todo="measure the mated queries only: ranks.select(protocol.mated)",
        )
