"""The options of a comparison, shared by 1:N identification and 1:1 verification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faceflow.errors import InputError
from faceflow.features import FaceFeatures, Grid
from faceflow.networks import MatchDefaults
from faceflow.similarity import check_alpha
from faceflow.transport import Sinkhorn, Solver
from faceflow.weighting import NEED_LANDMARKS, WEIGHTINGS


@dataclass(frozen=True, slots=True)
class MatchOptions:
    """How two faces are compared.

    Attributes:
        alpha: share of the EMD similarity in the score (paper equation 9), 0 to 1. With 0
            no transport is solved and stage 1's order stands.
        weighting: patch weights, see :mod:`faceflow.weighting`.
        k: how many faces of stage 1's ranking are re-ranked.
        grid: pool the patches to this grid first, e.g. (4, 4); None keeps the network's own.
        solver: the transport solver.
    """

    alpha: float
    weighting: str
    k: int = 100
    grid: Grid | None = None
    solver: Solver = field(default_factory=Sinkhorn)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.weighting not in WEIGHTINGS:
            raise InputError(
                f"there is no weighting {self.weighting!r}",
                todo=f"choose one of {', '.join(WEIGHTINGS)}",
            )
        if self.k < 1:
            raise InputError(f"k is {self.k}", why="at least one face must be re-ranked")

    @classmethod
    def resolve(
        cls,
        defaults: MatchDefaults,
        calibrated: Mapping[str, Any] | None = None,
        *,
        alpha: float | None = None,
        weighting: str | None = None,
        k: int | None = None,
        grid: Grid | None = None,
        solver: Solver | None = None,
    ) -> MatchOptions:
        """Fill what the caller left open: first from calibration, then from the network."""
        known = calibrated or {}
        return cls(
            alpha=float(known.get("alpha", defaults.alpha)) if alpha is None else alpha,
            weighting=(
                str(known.get("weighting", defaults.weighting)) if weighting is None else weighting
            ),
            k=int(known.get("k", defaults.k)) if k is None else k,
            grid=grid,
            solver=Sinkhorn() if solver is None else solver,
        )

    @property
    def needs_landmarks(self) -> bool:
        """Whether the weighting asks for :attr:`FaceFeatures.landmark_share`."""
        return self.weighting in NEED_LANDMARKS

    def on_grid(self, features: FaceFeatures) -> FaceFeatures:
        """The features on the grid these options ask for."""
        return features if self.grid is None else features.regrid(self.grid)
