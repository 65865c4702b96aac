"""One answer out of those of several shards: the same that all faces in one place would give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceflow.arrays import Float64, Int64
from faceflow.matching.score import Reranked
from faceflow.matching.transport import Plan

_ON_CPU = ("native", "numpy")


def best(parts: Sequence[tuple[Int64, Float64]], queries: int, k: int) -> tuple[Int64, Float64]:
    """The k best faces of each query out of the best of every part.

    Args:
        parts: ids (Q, m) and cosines (Q, m) each, -1 and NaN behind the last; m may differ, and no
            face stands in two.
        queries: Q.
        k: how many.

    Returns:
        ids (Q, k) and cosines (Q, k): cosine descending, then face id; padded with -1 and NaN.
    """
    face_ids = np.full((queries, k), -1, np.int64)
    cosine = np.full((queries, k), np.nan)
    for query in range(queries):
        ids = np.concatenate([np.empty(0, np.int64), *(part[0][query] for part in parts)])
        values = np.concatenate([np.empty(0), *(part[1][query] for part in parts)])
        known = ids >= 0
        ids, values = ids[known], values[known]
        order = np.lexsort((ids, -values))[:k]
        face_ids[query, : len(order)] = ids[order]
        cosine[query, : len(order)] = values[order]
    return face_ids, cosine


def joined(parts: Sequence[tuple[Int64, Reranked]], faces: int) -> Reranked:
    """The scores of n faces out of those of every part.

    Args:
        parts: which of the faces (m,) each part scored, and their scores; together every face once.
        faces: n, at least 1.
    """
    at = np.concatenate([part[0] for part in parts])
    order = np.empty(faces, np.int64)
    order[at] = np.arange(faces)
    found = [part[1] for part in parts if len(part[0])]

    def field(name: str) -> Float64 | None:
        values = [getattr(one, name) for one in found]
        return None if values[0] is None else np.concatenate(values)[order]

    score, cosine = field("score"), field("cosine")
    assert score is not None
    assert cosine is not None
    plans = [one.plan for one in found]
    # One part's device makes the whole a device's, whose scores the CPU will compute again.
    by = sorted({one.solved_by for one in found if one.solved_by}, key=_ON_CPU.__contains__)
    return Reranked(
        score,
        cosine,
        field("emd"),
        field("visible_cosine"),
        _one_plan(plans, order),
        by[0] if by else None,
    )


def _one_plan(parts: Sequence[Plan | None], order: Int64) -> Plan | None:
    plans = [plan for plan in parts if plan is not None]
    if not plans:
        return None
    flows = [plan.flow for plan in plans if plan.flow is not None]
    return Plan(
        np.concatenate([plan.similarity for plan in plans])[order],
        np.concatenate([plan.iterations for plan in plans])[order],
        np.concatenate([plan.marginal_error for plan in plans])[order],
        np.concatenate([plan.status for plan in plans])[order],
        np.concatenate(flows)[order] if flows else None,
    )
