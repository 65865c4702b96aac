"""Stage 1's answer: which faces are looked at again."""

from __future__ import annotations

from dataclasses import dataclass

from faceflow.arrays import Float64, Int64


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """Stage 1's answer for Q queries.

    Attributes:
        face_ids: (Q, k) int64, best first; -1 where the gallery has fewer faces.
        cosine: (Q, k) float64, cosine of query and face in [-1, 1]; NaN beside a -1.
    """

    face_ids: Int64
    cosine: Float64
