"""Why two faces scored what they scored: every number behind the flow picture.

Definitions (F the flow, S the cosine of patches, both R x S; paper appendix S3, equation 10):

    contribution of query patch i      sum_j F_ij S_ij       they add up to the EMD similarity
    contribution of gallery patch j    sum_i F_ij S_ij       likewise
    best match of query patch i        argmax_j F_ij
    strength of query patch i          max_j F_ij
    brightness of query patch i        (strength - min strength) / (max strength - min strength)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from faceflow.arrays import Bools, Float64, Floats, Int64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures, Grid
from faceflow.matching.options import MatchOptions, options_for
from faceflow.matching.score import prepare, rerank
from faceflow.matching.transport import Sinkhorn, Solver, Status
from faceflow.matching.transport.problem import patch_cosine
from faceflow.matching.weighting import weigh

# Numbers closer together than this share of the largest count as one: stretching rounding
# noise over the whole range of brightness would show a pattern that is not there. Weights
# come in float32, whose rounding stays below it.
EVEN = 1e-6


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the score.

    Attributes:
        key: "emd", "visible_cosine" or "cosine".
        name: in words.
        share: what it is multiplied with.
        value: the similarity itself.
    """

    key: str
    name: str
    share: float
    value: float

    @property
    def part(self) -> float:
        """What it adds to the score."""
        return self.share * self.value


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """One query face against one gallery face.

    Both faces lie on ``grid`` (h, w); patch r is the cell in row ``r // w``, column ``r % w``,
    R = h * w. The query comes first on every axis.

    Attributes:
        flow: (R, R) float64, mass moved from query patch i to gallery patch j. Rows sum to
            ``u`` within the solver's tolerance, columns to ``v``.
        cosines: (R, R) float64, cosine of query patch i with gallery patch j.
        u: (R,) float64, weight of each query patch; sums to 1, or all 0.
        v: (R,) float64, weight of each gallery patch; likewise.
        grid: (h, w).
        query_contributions: (R,) float64; summed from first to last they are ``emd`` to the
            last bit (``query_contributions.sum() == emd``).
        gallery_contributions: (R,) float64; their sum is ``emd`` up to rounding (1e-12).
        best_match: (R,) int64, the gallery patch that receives patch i's largest flow (the
            first of equals), or -1 where patch i has no mass to move.
        brightness: (R,) float64 in [0, 1], equation 10. Where all strengths are equal (one
            patch, or a flow without any preference) equation 10 divides by zero; there is no
            weak cell then, and all are 1. Where nothing moves at all, all are 0.
        emd: EMD similarity, in [-1, 1].
        cosine: cosine of the two embeddings (stage 1).
        score: ``alpha * emd + (1 - alpha) * cosine`` (equation 9), where ``visible_share`` of
            the cosine may be that of what both faces show; the parts are ``terms``.
        alpha: share of the EMD similarity in the score.
        weighting: name of the rule behind ``u`` and ``v``.
        status: how the solve ended; never INVALID.
        iterations: Sinkhorn iterations spent.
        marginal_error: L1 distance of the flow's row sums from ``u``.
        solver: the solver's name and options, e.g. ``{"name": "Sinkhorn", "epsilon": 0.05}``.
        visible_cosine: cosine of what both faces show, or None where it does not count.
        visible_share: its share in the cosine term.
        patches: what was transported, "raw" or "projected" patches.
    """

    flow: Float64
    cosines: Float64
    u: Float64
    v: Float64
    grid: Grid
    query_contributions: Float64
    gallery_contributions: Float64
    best_match: Int64
    brightness: Float64
    emd: float
    cosine: float
    score: float
    alpha: float
    weighting: str
    status: Status
    iterations: int
    marginal_error: float
    solver: Mapping[str, str | int | float | bool]
    visible_cosine: float | None = None
    visible_share: float = 0.0
    patches: str = "raw"

    @property
    def terms(self) -> tuple[Term, ...]:
        """What the score is made of; the parts add up to it."""
        rest = 1 - self.alpha
        if self.visible_cosine is None:
            whole: tuple[Term, ...] = (Term("cosine", "cosine", rest, self.cosine),)
        else:
            whole = (
                Term(
                    "visible_cosine",
                    "visible cosine",
                    rest * self.visible_share,
                    self.visible_cosine,
                ),
                Term("cosine", "cosine", rest * (1 - self.visible_share), self.cosine),
            )
        return (Term("emd", "EMD similarity", self.alpha, self.emd), *whole)

    @property
    def nearby_mass(self) -> float:
        """Share of the moved mass that lands on its own cell or one of the 8 cells around it.

        On aligned faces eyes lie where eyes lie, so a match that agrees with anatomy is near
        1; mass spread evenly over an 8x8 grid gives 0.12. 0 when nothing moves.
        """
        total = float(self.flow.sum())
        return float(self.flow[nearby(self.grid)].sum()) / total if total > 0 else 0.0


def explain_pair(
    query: FaceFeatures, gallery_face: FaceFeatures, options: MatchOptions | None = None
) -> Explanation:
    """Compare two faces as stage 2 does and keep every number.

    Args:
        query: features of one face, as the network gave them.
        gallery_face: features of one face from the same network.
        options: how they were compared, or are to be; None takes what measured best for the
            features' network. The transport is explained for an alpha of 0 too, though it does
            not count then. A Sinkhorn solver runs on its NumPy backend here, whatever it names:
            in float64 the flow accounts for every digit, and a single pair needs no speed.

    Returns:
        The explanation. Every number is that of :func:`faceflow.matching.score.rerank` with the
        NumPy backend, to the last bit, and ``emd`` is the sum of its contributions, exactly. With
        the native backend ``emd`` and ``score`` agree within its float32 rounding (2e-6).

    Raises:
        InputError: more than one face on a side, faces of two networks or grids, or a solver
            that returns no finite flow.
    """
    if len(query) != 1 or len(gallery_face) != 1:
        raise InputError(
            f"an explanation is for one face on each side, got {len(query)} and "
            f"{len(gallery_face)}",
            todo="pick one with features[i]",
        )
    chosen = options_for(gallery_face.digest) if options is None else options
    chosen = replace(chosen, solver=_accountable(chosen.solver))
    first, second = (prepare(face, chosen, flow=True) for face in (query, gallery_face))
    found = rerank(first, second, chosen, flow=True)
    plan, one, other = found.plan, first.patches, second.patches
    assert plan is not None
    assert one is not None
    assert other is not None
    if plan.flow is None or not np.isfinite(plan.flow).all():
        raise InputError(
            f"the solver {type(chosen.solver).__name__} returned no finite flow",
            why=f"it reports {Status(int(plan.status[0])).name}",
        )
    u, v = weigh(chosen.weighting, one, other)
    cosines = patch_cosine(one.patches[0], other.patches)[0]
    flow = np.asarray(plan.flow[0], dtype=np.float64)
    moved = flow * cosines
    # The order in which the solver sums (transport.numpy_sinkhorn): patches first.
    contributions = moved.sum(axis=1)
    shown = found.visible_cosine
    return Explanation(
        flow=flow,
        cosines=cosines,
        u=_shares(u[0]),
        v=_shares(v[0]),
        grid=one.grid,
        query_contributions=contributions,
        gallery_contributions=moved.sum(axis=0),
        best_match=best_match(flow),
        brightness=brightness(flow),
        emd=float(contributions.sum()),
        cosine=float(found.cosine[0]),
        score=float(found.score[0]),
        alpha=float(chosen.alpha),
        weighting=chosen.weighting,
        status=Status(int(plan.status[0])),
        iterations=int(plan.iterations[0]),
        marginal_error=float(plan.marginal_error[0]),
        solver=_describe(chosen.solver),
        visible_cosine=None if shown is None else float(shown[0]),
        visible_share=chosen.visible_share,
        patches=chosen.patches,
    )


def best_match(flow: Floats) -> Int64:
    """(R,) index of each row's largest entry, the first of equals; -1 for a row of zeros."""
    return np.where(flow.max(axis=1) > 0, flow.argmax(axis=1), -1).astype(np.int64)


def brightness(flow: Floats) -> Float64:
    """(R,) equation 10; see :class:`Explanation` for flows without a strongest cell."""
    strength = np.asarray(flow, dtype=np.float64).max(axis=1)
    low, high = strength.min(), strength.max()
    if high <= 0:
        return np.zeros_like(strength)
    if even(strength):
        return np.ones_like(strength)
    return np.asarray((strength - low) / (high - low), dtype=np.float64)


def even(values: Float64) -> bool:
    """Whether numbers that are not negative are all the same, up to rounding noise."""
    return bool(np.ptp(values) <= EVEN * values.max())


def nearby(grid: Grid) -> Bools:
    """(R, R) bool: whether cell j is cell i or one of the 8 cells around it."""
    row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    rows, columns = np.abs(row[:, None] - row), np.abs(column[:, None] - column)
    return np.asarray((rows <= 1) & (columns <= 1), dtype=np.bool_)


def _shares(weights: Floats) -> Float64:
    wide = np.asarray(weights, dtype=np.float64)
    total = wide.sum()
    return wide / total if total > 0 else wide


def _accountable(solver: Solver) -> Solver:
    if not isinstance(solver, Sinkhorn):
        return solver
    return replace(solver, backend="numpy", device="cpu")


def _describe(solver: Solver) -> dict[str, str | int | float | bool]:
    options: dict[str, str | int | float | bool] = {"name": type(solver).__name__}
    # A solver that is not a dataclass is named, but its options are not known.
    for name in getattr(type(solver), "__dataclass_fields__", {}):
        value = getattr(solver, name)
        options[name] = value if isinstance(value, str | int | float) else str(value)
    return options
