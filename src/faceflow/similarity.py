"""EMD similarity of one query face to a batch of gallery faces, and the final score."""

from __future__ import annotations

from faceflow.arrays import Float64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.transport import Plan, Sinkhorn, Solver, native
from faceflow.weighting import weigh


def emd_similarity(
    query: FaceFeatures,
    gallery: FaceFeatures,
    *,
    weighting: str = "apc",
    solver: Solver | None = None,
    flow: bool = False,
) -> Plan:
    """Optimal transport between the patches of one query and those of N gallery faces.

    Args:
        query: features of one face.
        gallery: features of N faces from the same network, on the same grid; N may be 0.
        weighting: a name from :data:`faceflow.weighting.WEIGHTINGS`.
        solver: how to solve; default :class:`faceflow.transport.Sinkhorn`.
        flow: keep the flows (N, R, S) for an explanation.

    Returns:
        One entry per gallery face; ``similarity`` lies in [-1, 1] (paper equation 1 with
        cosine similarity in place of the cost).
    """
    if query.grid != gallery.grid:
        raise InputError(
            f"the query's grid is {query.grid}, the gallery's {gallery.grid}",
            todo="bring both to one grid with regrid()",
        )
    solve = solver if solver is not None else Sinkhorn()
    sizes = (query.patches.shape[1], *gallery.patches.shape[1:])
    if (
        len(query) == 1
        and weighting in native.WEIGHTINGS
        and isinstance(solve, Sinkhorn)
        and solve.backend_for(*sizes) == "native"
    ):
        return solve.weighted(
            query.patches[0],
            gallery.patches,
            weighting,
            pooled_query=query.pooled[0],
            pooled_gallery=gallery.pooled,
            flow=flow,
        )
    u, v = weigh(weighting, query, gallery)
    return solve(query.patches[0], gallery.patches, u, v, flow=flow)


def takes_codes(query: FaceFeatures, weighting: str, solver: Solver) -> bool:
    """Whether the solver rounds patches to int8 anyway, so that stored codes give equal plans."""
    r, c = query.patches.shape[1:]
    return (
        isinstance(solver, Sinkhorn)
        and solver.dtype == "int8"
        and weighting in native.WEIGHTINGS
        and solver.backend_for(r, r, c) == "native"
    )


def mix(emd: Float64, cosine: Float64, alpha: float) -> Float64:
    """The final score, paper equation 9: ``alpha * emd + (1 - alpha) * cosine``.

    ``alpha`` 0 keeps stage 1's order, 1 uses the transport alone. The published code takes a
    negative alpha to mean the plain sum; that is half the score at alpha 0.5 and orders
    alike, so here alpha must lie in [0, 1].
    """
    check_alpha(alpha)
    return alpha * emd + (1 - alpha) * cosine


def cosine_term(cosine: Float64, visible_cosine: Float64, share: float) -> Float64:
    """The score's cosine term where part of it is the cosine of what both faces show."""
    return (1 - share) * cosine + share * visible_cosine


def check_alpha(alpha: float) -> None:
    """Raise :class:`InputError` unless alpha lies in [0, 1]."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}", why="it must lie between 0 and 1")
