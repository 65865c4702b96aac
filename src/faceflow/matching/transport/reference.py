"""The published solver, kept for parity only: one stopping rule for the whole candidate batch.

``utils/emd.py`` of the paper's code, restated: K = exp(-(1 - S) / 0.05); r = c = 1; at most
100 iterations of r then c, in float32, where rows are *gallery* patches; stop when the mean
absolute change of r over all candidates is below 0.1. A pair whose flow is NaN (no mass)
scores 0. A score therefore depends on the other candidates: use
:class:`faceflow.matching.transport.Sinkhorn` for everything but reproducing published numbers.
"""

from __future__ import annotations

import numpy as np

from faceflow.arrays import Floats
from faceflow.matching.transport.plan import Plan, Status
from faceflow.matching.transport.problem import patch_cosine

EPSILON = 0.05
MAX_ITERATIONS = 100
THRESHOLD = 0.1


def published_sinkhorn(
    query_patches: Floats, gallery_patches: Floats, u: Floats, v: Floats
) -> Plan:
    """Solve N pairs exactly as the published evaluation does, flows included.

    Args:
        query_patches: (R, C) unit rows.
        gallery_patches: (N, S, C) unit rows.
        u: (N, R) query weights, sums 1.
        v: (N, S) gallery weights, sums 1.

    Returns:
        A plan with ``flow`` (N, R, S) float32. All pairs share one iteration count, and the
        query marginal is the exact one: the error is that of the *gallery* side, because the
        published rows are gallery patches.
    """
    cosine = patch_cosine(query_patches, gallery_patches).astype(np.float32)
    # (N, S, R): rows are gallery patches, as published.
    kernel = np.exp(-(1 - cosine.transpose(0, 2, 1)) / np.float32(EPSILON))
    rows = np.asarray(v, dtype=np.float32)
    columns = np.asarray(u, dtype=np.float32)
    r = np.ones_like(rows)
    c = np.ones_like(columns)
    iteration, change = 0, np.inf
    with np.errstate(invalid="ignore", divide="ignore"):
        while not change < THRESHOLD and iteration < MAX_ITERATIONS:
            iteration += 1
            before = r
            r = rows / np.matmul(kernel, c[:, :, None])[:, :, 0]
            c = columns / np.matmul(r[:, None, :], kernel)[:, 0, :]
            change = float(np.abs(r - before).mean()) if r.size else 0.0
        flow = (r[:, :, None] * kernel * c[:, None, :]).transpose(0, 2, 1)
    lost = np.isnan(flow).any(axis=(1, 2))
    similarity = np.where(lost, 0.0, (flow * cosine).sum(axis=(1, 2), dtype=np.float64))
    error = np.abs(flow.sum(axis=1, dtype=np.float64) - rows).sum(axis=1)
    status = np.where(lost, Status.NO_MASS, Status.CONVERGED).astype(np.int8)
    return Plan(similarity, np.full(len(flow), iteration), error, status, flow)
