"""The solver users choose: entropic optimal transport with a per-pair stopping rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from faceflow.arrays import Floats
from faceflow.errors import InputError
from faceflow.transport.numpy_sinkhorn import sinkhorn
from faceflow.transport.plan import Plan
from faceflow.transport.problem import patch_cosine, pose

Backend = Literal["auto", "numpy"]


class Solver(Protocol):
    """Anything that transports a query's patches onto the patches of N gallery faces."""

    def __call__(
        self,
        query_patches: Floats,
        gallery_patches: Floats,
        u: Floats,
        v: Floats,
        *,
        flow: bool = False,
    ) -> Plan:
        """Solve N pairs; see :class:`Sinkhorn` for shapes."""
        ...


@dataclass(frozen=True, slots=True)
class Sinkhorn:
    """Sinkhorn solver, paper section 3 and ``utils/emd.py`` of its code (epsilon 0.05).

    The published code stops when the mean change over the whole candidate batch is small,
    so a score there depends on its neighbours. Here each pair stops on its own marginal
    error; :mod:`faceflow.transport.reference` keeps the published rule for parity.

    Attributes:
        epsilon: regularisation; smaller is closer to the exact EMD and takes more iterations.
        tolerance: stop when the L1 error of the row marginals is below this.
        max_iterations: cap; reaching it is reported per pair, not raised.
        backend: "numpy", or "auto" for the fastest one installed.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(4, dtype=np.float32)
        >>> w = np.full(4, 0.25)
        >>> plan = Sinkhorn()(eye, eye[None], w, w)
        >>> round(float(plan.similarity[0]), 6)
        1.0
    """

    epsilon: float = 0.05
    tolerance: float = 1e-3
    max_iterations: int = 1000
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon >= 1e-3):
            raise InputError(
                f"epsilon is {self.epsilon}",
                why="it must be a finite number of at least 0.001",
                todo="use the exact solver for an unregularised distance",
            )
        if not (math.isfinite(self.tolerance) and self.tolerance > 0):
            raise InputError(f"tolerance is {self.tolerance}", why="it must be above 0")
        if self.max_iterations < 1:
            raise InputError(f"max_iterations is {self.max_iterations}", why="it must be 1 or more")
        if self.backend not in ("auto", "numpy"):
            raise InputError(
                f"there is no transport backend {self.backend!r}", todo="choose auto or numpy"
            )

    def __call__(
        self,
        query_patches: Floats,
        gallery_patches: Floats,
        u: Floats,
        v: Floats,
        *,
        flow: bool = False,
    ) -> Plan:
        """Transport the query's patches onto each gallery face's patches.

        Args:
            query_patches: (R, C) float, unit rows.
            gallery_patches: (N, S, C) float, unit rows; N may be 0.
            u: (N, R) or (R,) query weights, not negative; scaled to sum 1 here.
            v: (N, S) or (S,) gallery weights, likewise.
            flow: also return the flows, (N, R, S).

        Raises:
            InputError: shapes disagree or a weight is negative. NaN or infinity in a pair
                does not raise: that pair's status is INVALID.
        """
        return self.solve(patch_cosine(query_patches, gallery_patches), u, v, flow=flow)

    def solve(self, cosine: Floats, u: Floats, v: Floats, *, flow: bool = False) -> Plan:
        """The same from given similarities (N, R, S); the cost is ``1 - cosine``."""
        return sinkhorn(
            pose(cosine, u, v),
            epsilon=self.epsilon,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            flow=flow,
        )
