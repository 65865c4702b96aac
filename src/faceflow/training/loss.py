"""The ArcFace loss (Deng et al. 2019) with its gradient, in NumPy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from faceflow.arrays import Float32, Floats, Int64


class ArcFace(NamedTuple):
    """A batch's loss and where it falls.

    Attributes:
        loss: mean over the batch.
        d_embedding: (N, D) its gradient by the embeddings.
        d_centres: (P, D) its gradient by the centres.
    """

    loss: float
    d_embedding: Float32
    d_centres: Float32


def arcface(
    embedding: Floats, centres: Floats, labels: Int64, *, s: float = 30.0, m: float = 0.5
) -> ArcFace:
    """Cross-entropy of s cos(theta), with the true person's theta enlarged by m.

    With theta_j the angle between a face's embedding and person j's centre, the logits are
    ``s cos(theta_j)`` and, for the face's own person y, ``s cos(theta_y + m)``. Beyond
    theta_y = pi - m, where that would rise again, it is ``s (cos(theta_y) - m sin(m))``, as
    in the usual code.

    Args:
        embedding: (N, D), any length but zero.
        centres: (P, D), one per person, any length but zero.
        labels: (N,) whose face each is, 0..P-1.
        s: scale.
        m: margin in radians.
    """
    rows = np.arange(len(labels))
    e, e_norm = unit_and_length(embedding)
    c, c_norm = unit_and_length(centres)
    cosine = e @ c.T
    own = np.clip(cosine[rows, labels].astype(np.float64), -1, 1)
    sine = np.sqrt(np.maximum(1 - own**2, 1e-12))
    near = own > math.cos(math.pi - m)
    target = np.where(near, own * math.cos(m) - sine * math.sin(m), own - m * math.sin(m))
    slope = np.where(near, math.cos(m) + own / sine * math.sin(m), 1.0)
    logits = s * cosine
    logits[rows, labels] = s * target
    logits -= logits.max(axis=1, keepdims=True)
    share = np.exp(logits)
    total = share.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - logits[rows, labels]))
    share /= total
    share[rows, labels] -= 1
    d_cosine = share * (s / len(labels))
    d_cosine[rows, labels] *= slope
    return ArcFace(
        loss, through_unit(d_cosine @ c, e, e_norm), through_unit(d_cosine.T @ e, c, c_norm)
    )


def unit_and_length(vectors: Floats) -> tuple[Floats, Floats]:
    """(N, D) unit rows and (N, 1) lengths."""
    norm = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors / norm, norm


def through_unit(gradient: Floats, unit: Floats, norm: Floats) -> Float32:
    """The gradient by vectors of what is known by their unit vectors."""
    along = (gradient * unit).sum(axis=1, keepdims=True)
    return np.asarray((gradient - along * unit) / norm, dtype=np.float32)
