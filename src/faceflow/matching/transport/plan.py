"""The answer of a transport solver: how much mass moves where, and how well the solve went."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from faceflow.arrays import Float64, Floats, Int8, Int64


class Status(IntEnum):
    """How one pair's solve ended."""

    CONVERGED = 0
    """The row-marginal error is below the tolerance."""
    MAX_ITERATIONS = 1
    """The iteration cap came first; the plan is usable, its marginal error says how far off."""
    NO_MASS = 2
    """One side's weights are all zero: nothing can move. Similarity is 0, the flow is zero."""
    INVALID = 3
    """A patch or weight of the pair is NaN or infinite. Similarity is NaN, never a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Transport between one query face and N gallery faces; every field has one entry per pair.

    Attributes:
        similarity: (N,) float64, ``sum_ij flow_ij * cosine_ij``: the EMD similarity.
        iterations: (N,) int64, Sinkhorn iterations spent (0 for an exact solver).
        marginal_error: (N,) float64, ``sum_i |sum_j flow_ij - u_i|`` (L1). The column sums
            equal ``v`` up to rounding, because the last update is the column's.
        status: (N,) int8, values of :class:`Status`.
        flow: (N, R, S) or None when not asked for. ``flow[n, i, j]`` is the mass moved from
            query patch i to patch j of gallery face n.
    """

    similarity: Float64
    iterations: Int64
    marginal_error: Float64
    status: Int8
    flow: Floats | None = None

    def __len__(self) -> int:
        return int(self.similarity.shape[0])

    def pair(self, n: int) -> Plan:
        """The plan of pair n alone, with the pair axis kept (length 1)."""
        one = slice(n, n + 1)
        return Plan(
            self.similarity[one],
            self.iterations[one],
            self.marginal_error[one],
            self.status[one],
            None if self.flow is None else self.flow[one],
        )
