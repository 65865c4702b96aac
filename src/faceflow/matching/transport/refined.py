"""Fast for all, careful for the best: int8 transport with the top n solved again in float32."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from faceflow.arrays import Bools, Floats, Int64
from faceflow.errors import InputError
from faceflow.matching.transport.codes import Codes, decode
from faceflow.matching.transport.plan import Plan
from faceflow.matching.transport.sinkhorn import Sinkhorn


@dataclass(frozen=True, slots=True, eq=False)
class RefinedPlan(Plan):
    """A plan whose pairs were solved in two precisions.

    Attributes:
        refined: (N,) True where a pair was solved again in the fine precision; all of its
            fields are then the fine solver's.
    """

    refined: Bools = field(kw_only=True)

    def ranking(self) -> Int64:
        """(N,) pairs, best first: refined ones by their fine score, then the rest by theirs.

        A refined pair stays before every other even if the fine score came out a little lower
        than a coarse one: the two scales differ by the rounding, and the coarse order has
        already decided between those two. Ties go to the lower index, NaN last in its group.
        """
        return np.lexsort((np.arange(len(self)), -self.similarity, ~self.refined)).astype(np.int64)

    def pair(self, n: int) -> RefinedPlan:
        """The plan of pair n alone, with the pair axis kept (length 1)."""
        one = slice(n, n + 1)
        return RefinedPlan(
            self.similarity[one],
            self.iterations[one],
            self.marginal_error[one],
            self.status[one],
            None if self.flow is None else self.flow[one],
            refined=self.refined[one],
        )


@dataclass(frozen=True, slots=True)
class RefinedSinkhorn:
    """Solve every pair with ``coarse``, then the n most similar ones again with ``fine``.

    Either score of a pair depends on that pair alone, to the last bit. *Which* of the two is
    reported depends on the other pairs of the call: a pair is refined when it is among the n
    best of its batch by the coarse score (ties to the lower index). So compare scores within
    one call by :meth:`RefinedPlan.ranking`, not across calls; with n at least N every score
    is the fine one and nothing depends on the batch.

    Where only the native backend rounds (see :class:`Sinkhorn`), a coarse solver on NumPy does
    not round float patches: both passes then agree, and nothing is gained but nothing is lost.

    Attributes:
        n: how many pairs to solve again, 0 or more.
        coarse: the solver for all pairs; int8 unless told otherwise.
        fine: the solver for the best. Stored codes are decoded for it, so that the query at
            least is not rounded.
    """

    n: int = 20
    coarse: Sinkhorn = field(default_factory=lambda: Sinkhorn(dtype="int8"))
    fine: Sinkhorn = field(default_factory=Sinkhorn)

    def __post_init__(self) -> None:
        if self.n < 0:
            raise InputError(f"n is {self.n}", why="a number of pairs cannot be negative")

    def __call__(
        self,
        query_patches: Floats,
        gallery_patches: Codes,
        u: Floats,
        v: Floats,
        *,
        flow: bool = False,
    ) -> RefinedPlan:
        """Same arguments as :class:`Sinkhorn`; weights are used as given in both passes."""
        rough = self.coarse(query_patches, gallery_patches, u, v, flow=flow)
        best = np.sort(np.argsort(-rough.similarity, kind="stable")[: self.n])
        refined = np.zeros(len(rough), dtype=np.bool_)
        refined[best] = True
        again = self.fine(
            query_patches,
            decode(gallery_patches[best]),
            u if np.ndim(u) == 1 else u[best],
            v if np.ndim(v) == 1 else v[best],
            flow=flow,
        )
        for name in ("similarity", "iterations", "marginal_error", "status"):
            getattr(rough, name)[best] = getattr(again, name)
        flows = rough.flow
        if flows is not None and again.flow is not None:
            flows[best] = again.flow
        return RefinedPlan(
            rough.similarity,
            rough.iterations,
            rough.marginal_error,
            rough.status,
            flows,
            refined=refined,
        )
