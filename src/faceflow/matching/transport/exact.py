"""The exact earth mover's distance, for checking how much the regularisation matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Floats
from faceflow.errors import MissingExtraError
from faceflow.matching.transport.plan import Plan, Status
from faceflow.matching.transport.problem import patch_cosine, pose


@dataclass(frozen=True, slots=True)
class ExactEMD:
    """Network simplex from POT (``pip install 'faceflow[exact]'``), one pair at a time.

    Paper equation 1 without regularisation. About a hundred times slower than Sinkhorn at
    64 patches; the marginal error is zero up to rounding.
    """

    max_iterations: int = 1_000_000

    def __call__(
        self,
        query_patches: Floats,
        gallery_patches: Floats,
        u: Floats,
        v: Floats,
        *,
        flow: bool = False,
    ) -> Plan:
        """Same arguments as :class:`faceflow.matching.transport.Sinkhorn`."""
        return self.solve(patch_cosine(query_patches, gallery_patches), u, v, flow=flow)

    def solve(self, cosine: Floats, u: Floats, v: Floats, *, flow: bool = False) -> Plan:
        """Solve from given similarities (N, R, S)."""
        try:
            import ot
        except ImportError as missing:
            raise MissingExtraError(
                "the exact solver needs the POT package",
                todo="install it with: pip install 'faceflow[exact]'",
            ) from missing
        problem = pose(cosine, u, v)
        n = len(problem.cosine)
        flows = np.zeros_like(problem.cosine)
        status = np.full(n, Status.CONVERGED, dtype=np.int8)
        status[problem.no_mass] = Status.NO_MASS
        status[problem.invalid] = Status.INVALID
        flows[problem.invalid] = np.nan
        for pair in np.flatnonzero(status == Status.CONVERGED):
            flows[pair], log = ot.emd(
                problem.u[pair],
                problem.v[pair],
                1 - problem.cosine[pair],
                numItermax=self.max_iterations,
                log=True,
            )
            if log["result_code"] != 1:
                status[pair] = Status.MAX_ITERATIONS
        similarity = (flows * problem.cosine).sum(axis=2).sum(axis=1)
        error = np.abs(flows.sum(axis=2) - problem.u).sum(axis=1)
        error[problem.no_mass] = 0.0
        return Plan(similarity, np.zeros(n, dtype=np.int64), error, status, flows if flow else None)
