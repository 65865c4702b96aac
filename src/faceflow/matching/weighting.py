"""How much each patch counts: from two faces' features to transport weights u and v.

The query's weights; the gallery's follow the same rule with the sides exchanged:

    uniform   u_i = 1 / R
    apc       u_i = ReLU(<q_i, mean patch of g>)    patches that look like the other face
    sc        u_i = sum_j (1 - <q_i, g_j>)          patches that differ from the other face
    cc        u_i = ReLU(<q_i, embedding of g>)     patches that point to the other embedding
    lmk       u_i = share of the query's landmarks in cell i
    norm      u_i = |raw patch q_i|                 patches that excite the network

uniform, apc, sc and lmk follow the paper's code (``utils/emd.py``, ``visualize_faces_lmk.py``).
The code has no cc; this is the marginal of DIML, from which its solver comes. norm is
faceflow's own: the length of a patch before it was made unit is its say in the pooled feature
map, and short patches are those the network saw little in; docs/weightings.md has the
measurements.

and one of ours, for features that say what they show
(:class:`faceflow.matching.covers.PatchModel`):

    uncovered u_i = v_i = visibility of q_i times that of g_i: patches that both faces show

Both sides are scaled to sum 1. Where a rule leaves a side without any weight (APC with only
negative products, SC between identical patches, LMK of a face taken whole) nothing is
preferred, so that side is uniform; the published code returns NaN there and scores the pair 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from faceflow.arrays import Float32, Float64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.matching.transport.problem import patch_cosine

Weights = tuple[Float32, Float32]
NEED_LANDMARKS = frozenset({"lmk"})
"""Weightings that need :attr:`FaceFeatures.landmark_share`."""


def weigh(weighting: str, query: FaceFeatures, gallery: FaceFeatures) -> Weights:
    """Transport weights for one query against N gallery faces.

    Args:
        weighting: a name from :data:`WEIGHTINGS`.
        query: features of one face.
        gallery: features of N faces on the same kind of grid.

    Returns:
        u: (N, R) float32 weights of the query's patches, one row per gallery face, sum 1.
        v: (N, S) float32 weights of each gallery face's patches, sum 1.

    Raises:
        InputError: an unknown name (the message lists the known), more than one query, or
            features that lack what the rule needs (cc: patches as long as embeddings; lmk:
            landmarks).
    """
    rule = WEIGHTINGS.get(weighting)
    if rule is None:
        raise InputError(
            f"there is no weighting {weighting!r}", todo=f"choose one of {', '.join(WEIGHTINGS)}"
        )
    if len(query) != 1:
        raise InputError(f"weights are for one query face, got {len(query)}")
    u, v = rule(query, gallery)
    return _normalise(u), _normalise(v)


def _uniform(query: FaceFeatures, gallery: FaceFeatures) -> tuple[Float64, Float64]:
    n = len(gallery)
    return np.ones((n, query.patches.shape[1])), np.ones((n, gallery.patches.shape[1]))


def _apc(query: FaceFeatures, gallery: FaceFeatures) -> tuple[Float64, Float64]:
    return _towards(query, query.pooled, gallery, gallery.pooled)


def _cc(query: FaceFeatures, gallery: FaceFeatures) -> tuple[Float64, Float64]:
    c, d = query.patches.shape[2], query.embedding.shape[1]
    if c != d:
        raise InputError(
            f"cc cannot compare these patches of {c} numbers with embeddings of {d}",
            why="it multiplies each patch with the other face's embedding, so it needs a network "
            "whose patches and embedding have one size",
            todo="use apc, which compares patches with the other face's mean patch",
        )
    return _towards(query, query.embedding, gallery, gallery.embedding)


def _towards(
    query: FaceFeatures, query_centre: Float32, gallery: FaceFeatures, gallery_centre: Float32
) -> tuple[Float64, Float64]:
    """ReLU of each patch's product with the other face's centre, (1, C) and (N, C)."""
    # einsum without optimize sums in a fixed order per element: no dependence on the batch.
    u = np.einsum("rc,nc->nr", query.patches[0], gallery_centre, dtype=np.float64)
    v = np.einsum("nsc,c->ns", gallery.patches, query_centre[0], dtype=np.float64)
    return np.maximum(u, 0), np.maximum(v, 0)


def _sc(query: FaceFeatures, gallery: FaceFeatures) -> tuple[Float64, Float64]:
    # Rounding can make 1 - cosine of equal patches slightly negative; weights may not be.
    difference = np.maximum(1 - patch_cosine(query.patches[0], gallery.patches), 0)
    return difference.sum(axis=2), difference.sum(axis=1)


def _lmk(query: FaceFeatures, gallery: FaceFeatures) -> tuple[Float64, Float64]:
    for name, features in (("query", query), ("gallery", gallery)):
        if features.landmark_share is None:
            raise InputError(
                f"lmk needs landmarks, and the {name} features hold none",
                why="they were made from bare crops, or enrolled before landmarks were kept",
                todo="analyze photos with FaceAnalyzer, enroll the photos again into a new "
                "gallery, or use another weighting",
            )
    assert query.landmark_share is not None
    assert gallery.landmark_share is not None
    u = np.repeat(query.landmark_share.astype(np.float64), len(gallery), axis=0)
    return np.maximum(u, 0), np.maximum(gallery.landmark_share.astype(np.float64), 0)


def _norm(query: FaceFeatures, gallery: FaceFeatures) -> tuple[Float64, Float64]:
    u = np.repeat(query.norms.astype(np.float64), len(gallery), axis=0)
    return u, gallery.norms.astype(np.float64)


def _uncovered(query: FaceFeatures, gallery: FaceFeatures) -> tuple[Float64, Float64]:
    if query.visibility is None or gallery.visibility is None:
        raise InputError(
            "these features do not say which patches are visible",
            why="the weighting 'uncovered' needs a network whose covers are known",
            todo="use another weighting, or features from PatchModel.project or .see",
        )
    # Aligned faces: what hides a place on one face leaves nothing to compare there on the other.
    shown = query.visibility.astype(np.float64) * gallery.visibility
    return shown, shown


WEIGHTINGS: Mapping[str, Callable[[FaceFeatures, FaceFeatures], tuple[Float64, Float64]]] = {
    "uniform": _uniform,
    "apc": _apc,
    "sc": _sc,
    "cc": _cc,
    "lmk": _lmk,
    "norm": _norm,
    "uncovered": _uncovered,
}


def _normalise(weights: Float64) -> Float32:
    total = weights.sum(axis=1, keepdims=True)
    uniform = np.full_like(weights, 1 / weights.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, weights / total, uniform).astype(np.float32)
