"""Stage 1's answer: which faces are looked at again."""

from __future__ import annotations

from dataclasses import dataclass

from faceflow.arrays import Float64, Int64


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of what an answer is, where a gallery is spread over shards.

    Attributes:
        revisions: for each shard which state it answered from: the largest face id ever given, and
            how many faces had left somebody; None where it did not answer.
        stale: whether the shards answered from what they had loaded, because the gallery's
            database could not be asked what has changed since.
    """

    revisions: tuple[tuple[int, int] | None, ...]
    stale: bool = False

    @property
    def missing(self) -> tuple[int, ...]:
        """Shards that did not answer: nobody in them can be found."""
        return tuple(n for n, revision in enumerate(self.revisions) if revision is None)


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """Stage 1's answer for Q queries.

    Attributes:
        face_ids: (Q, k) int64, best first; -1 where the gallery has fewer faces.
        cosine: (Q, k) float64, cosine of query and face in [-1, 1]; NaN beside a -1.
        coverage: what was searched, where the gallery is spread over shards; else None.
    """

    face_ids: Int64
    cosine: Float64
    coverage: Coverage | None = None
