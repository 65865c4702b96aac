"""Non-maximum suppression: of boxes that overlap, keep the best."""

from __future__ import annotations

from typing import Literal

import numpy as np

from faceflow.arrays import Float64, Floats, Int64

Overlap = Literal["union", "smaller"]

# Full overlap tables up to this many boxes (8 MB each); beyond, row by row.
_TABLE = 1024


def suppress(
    boxes: Floats,
    scores: Floats,
    threshold: float,
    *,
    overlap: Overlap = "union",
    edge: float = 0.0,
) -> Int64:
    """Indices of the boxes to keep, best score first (equal scores: lower index first).

    A box goes when it overlaps a kept one by more than ``threshold``.

    Args:
        boxes: (N, 4) x0, y0, x1, y1.
        scores: (N,).
        threshold: in [0, 1].
        overlap: intersection over union, or over the smaller of the two areas, which also
            removes a small box inside a large one.
        edge: added to every width and height; 1 where x1, y1 name the last pixel inside.
    """
    order = np.argsort(-scores, kind="stable")
    # Far more boxes than can survive: the table would be slow to fill, rows are few.
    ranked = np.asarray(boxes[order, :4], dtype=np.float64)
    alive = np.ones(len(ranked), dtype=bool)
    table = _overlaps(ranked, ranked, overlap, edge) if len(ranked) <= _TABLE else None
    kept = []
    for i in range(len(ranked)):
        if not alive[i]:
            continue
        kept.append(i)
        row = table[i] if table is not None else _overlaps(ranked[i : i + 1], ranked, overlap, edge)
        alive &= np.ravel(row) <= threshold
    return np.asarray(order[kept], dtype=np.int64)


def _overlaps(a: Float64, b: Float64, overlap: Overlap, edge: float) -> Float64:
    """(N, M) overlap of each box of a with each of b."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(high - low + edge, 0.0).prod(axis=2)
    area_a = (a[:, 2:] - a[:, :2] + edge).prod(axis=1)[:, None]
    area_b = (b[:, 2:] - b[:, :2] + edge).prod(axis=1)[None, :]
    whole = np.minimum(area_a, area_b) if overlap == "smaller" else area_a + area_b - shared
    return np.asarray(np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0))
