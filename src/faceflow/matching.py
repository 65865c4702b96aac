"""The options of a comparison, shared by 1:N identification and 1:1 verification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from faceflow.arrays import Float64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, Grid
from faceflow.networks import MatchDefaults, current_names
from faceflow.patch_model import PatchModel
from faceflow.similarity import check_alpha, cosine_term, mix
from faceflow.transport import Sinkhorn, Solver
from faceflow.weighting import NEED_LANDMARKS, WEIGHTINGS

Patches = Literal["raw", "projected"]


@dataclass(frozen=True, slots=True)
class MatchOptions:
    """How two faces are compared.

        score = alpha * emd + (1 - alpha) * ((1 - visible_share) * cosine
                                         + visible_share * visible_cosine)

    With ``patches`` "raw" and ``visible_share`` 0, as the constructor has it, that is the paper's
    equation 9.

    Attributes:
        alpha: share of the EMD similarity in the score, 0 to 1. With 0 no transport is solved.
        weighting: patch weights, see :mod:`faceflow.weighting`.
        k: how many faces of stage 1's ranking are re-ranked.
        grid: pool the patches to this grid first, e.g. (4, 4); None keeps the network's own.
        solver: the transport solver.
        patches: what is transported: the network's "raw" feature map, or its "projected"
            contributions to the embedding.
        visible_share: share, 0 to 1, of the cosine of the visible faces in the cosine term; see
            :meth:`faceflow.patch_model.PatchModel.visible_cosine`.
        model: the network's patch model; projected patches and visibility need it.
    """

    alpha: float
    weighting: str
    k: int = 100
    grid: Grid | None = None
    solver: Solver = field(default_factory=Sinkhorn)
    patches: Patches = "raw"
    visible_share: float = 0.0
    model: PatchModel | None = None

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.weighting not in WEIGHTINGS:
            raise InputError(
                f"there is no weighting {self.weighting!r}",
                todo=f"choose one of {', '.join(WEIGHTINGS)}",
            )
        if self.k < 1:
            raise InputError(f"k is {self.k}", why="at least one face must be re-ranked")
        if self.patches not in get_args(Patches):
            raise InputError(f"patches is {self.patches!r}", todo="choose raw or projected")
        if not 0 <= self.visible_share <= 1:
            raise InputError(
                f"visible_share is {self.visible_share}", why="it must lie between 0 and 1"
            )
        if self.needs_model and self.model is None:
            raise InputError(
                "projected patches and visibility need a patch model",
                why="none is known for this network's weights",
                todo="use raw patches, visible_share 0 and another weighting than uncovered",
            )
        if self.grid is not None and (self.patches == "projected" or self.visible_share > 0):
            raise InputError(
                f"patches cannot be pooled to {self.grid[0]}x{self.grid[1]} and projected too",
                why="contributions to the embedding are known on the network's own grid",
                todo="leave grid out, or use raw patches and visible_share 0",
            )

    @property
    def needs_model(self) -> bool:
        """Whether anything here asks for more than the features."""
        return (
            self.patches == "projected" or self.visible_share > 0 or self.weighting == "uncovered"
        )

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
        patches: Patches | None = None,
        visible_share: float | None = None,
        model: PatchModel | None = None,
    ) -> MatchOptions:
        """Fill what the caller left open: first from calibration, then from the network.

        A calibration that does not speak of patches was made with raw ones. Without a patch
        model, and on another grid than the network's, what was left open falls back to raw
        patches, visible_share 0 and uniform weights. An ``alpha`` of 0 asks for stage 1's
        ranking, so ``visible_share`` is 0 with it unless it is given too.
        """
        known: dict[str, Any] = current_names(calibrated or {})
        if known:
            known = {"patches": "raw", "visible_share": 0.0, **known}
        kind = known.get("patches", defaults.patches) if patches is None else patches
        share = (
            known.get("visible_share", defaults.visible_share)
            if visible_share is None
            else visible_share
        )
        rule = known.get("weighting", defaults.weighting) if weighting is None else weighting
        if alpha == 0 and visible_share is None:
            share = 0.0
        if model is None or grid is not None:
            kind = "raw" if patches is None else kind
            share = 0.0 if visible_share is None else share
            if model is None and weighting is None and rule == "uncovered":
                rule = "uniform"
        return cls(
            alpha=float(known.get("alpha", defaults.alpha)) if alpha is None else alpha,
            weighting=str(rule),
            k=int(known.get("k", defaults.k)) if k is None else k,
            grid=grid,
            solver=Sinkhorn() if solver is None else solver,
            patches=kind,
            visible_share=float(share),
            model=model,
        )

    @property
    def needs_landmarks(self) -> bool:
        """Whether the weighting asks for :attr:`FaceFeatures.landmark_share`."""
        return self.weighting in NEED_LANDMARKS

    def prepare(self, features: FaceFeatures) -> FaceFeatures:
        """The features as transport wants them: projected, or on the grid asked for."""
        if self.model is not None and self.patches == "projected":
            return self.model.project(features)
        if self.model is not None and self.weighting == "uncovered":
            features = self.model.see(features)
        return features if self.grid is None else features.regrid(self.grid)

    def visible_cosine(self, query: FaceFeatures, gallery: FaceFeatures) -> Float64 | None:
        """(N,) cosine of what both faces show, or None where it does not count.

        Args:
            query: one face as :meth:`prepare` gives it.
            gallery: N faces likewise.
        """
        if self.model is None or self.visible_share == 0:
            return None
        if self.patches != "projected":
            query, gallery = self.model.project(query), self.model.project(gallery)
        return self.model.visible_cosine(query, gallery)

    def score(self, emd: Float64, cosine: Float64, visible_cosine: Float64 | None) -> Float64:
        """The final score; see the class."""
        if visible_cosine is not None:
            cosine = cosine_term(cosine, visible_cosine, self.visible_share)
        return mix(emd, cosine, self.alpha) if self.alpha > 0 else np.asarray(cosine)
