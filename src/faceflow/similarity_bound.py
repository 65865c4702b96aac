"""What the EMD similarity of two faces cannot exceed, found without solving the transport.

For any flow F >= 0 with row sums a and column sums b, and cosines S,

    sum_ij F_ij S_ij <= sum_i a_i max_j S_ij    and    <= sum_j b_j max_i S_ij.

Were a = u and b = v, the smaller of the two sums would be the bound. A solver stops earlier;
what follows bounds the number that :class:`faceflow.transport.Sinkhorn` *reports*.

Columns. The last update sets b = v, so the second sum holds as it is, converged or not.

Rows. Let m_i = max_j S_ij and e = sum_i |a_i - u_i|. Both a and u sum to 1, so for any t
sum_i (a_i - u_i) m_i = sum_i (a_i - u_i) (m_i - t) <= e * max_i |m_i - t|; with t in the middle
of m's range that is e * (max m - min m) / 2. The solver stops with e < tolerance, or at the
cap T of iterations. For the latter case:

  1. e never grows. After a row update column j sums to b_j with
     b_j - v_j = sum_i (F_ij / a_i) (u_i - a_i), hence sum_j |b_j - v_j| <= e; and the same
     from columns back to rows.
  2. Each row update lowers KL(F* | F), F* being the limit, by KL(u | a) >= e^2 / 2 (Pinsker),
     each column update likewise. T iterations after the first row update make T column and
     T - 1 row updates, all with errors of at least the last e, so (2T - 1) e^2 / 2 <= D, where
     D = KL(F* | P) and P_ij = u_i K_ij / sum_j K_ij, K = exp(S / epsilon).
  3. With H the entropy, D = sum_i u_i log sum_j K_ij + H(u) - (<F*, S> / epsilon + H(F*)). F*
     is the largest in the last bracket among all plans; u v' is a plan with entropy
     H(u) + H(v). Hence D <= (sum_i u_i m_i - u' S v) / epsilon + log(columns) - H(v).

So e <= max(tolerance, sqrt(2 D / (2T - 1))) whether or not the pair would converge, and no
pair has to be solved to know it.

Rounding. The solver's cosines, weights and sums are float32, and so are those here. A float32
sum of n products of unit vectors is off by at most about n 2^-24; weights that come out of such
sums before they are scaled to sum 1 are off by that over their sum. Both are added, twice over.
Where the weights' sum is so small that they are mostly rounding, the bound is infinite.
"""

from __future__ import annotations

import numpy as np

from faceflow.arrays import Float32, Float64
from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.transport import Sinkhorn, decode, encode, native

_ROUNDOFF = 2.0**-24
_UNCERTAIN = 0.1  # weights this unsure (L1) leave nothing to prune by
_BLOCK = 64  # faces at once: their cosines stay in the cache


def similarity_bound(
    query: FaceFeatures, gallery: FaceFeatures, *, weighting: str, solver: Sinkhorn
) -> Float64:
    """An upper bound of ``emd_similarity(query, gallery, ...).similarity``, with the same options.

    Args:
        query: features of one face.
        gallery: features of N faces on the same grid, patches and pooled of unit length.
        weighting: uniform, apc or sc.
        solver: the solver whose answer is bounded: its epsilon, tolerance, cap and the
            format it rounds patches to all matter.

    Returns:
        (N,) float64; infinite where nothing is known.

    Raises:
        InputError: more than one query, other grids, or an unknown weighting.
    """
    if len(query) != 1:
        raise InputError(f"a bound is for one query face, got {len(query)}")
    if query.grid != gallery.grid:
        raise InputError(f"the query's grid is {query.grid}, the gallery's {gallery.grid}")
    if weighting not in native.WEIGHTINGS:
        raise InputError(
            f"there is no bound for the weighting {weighting!r}",
            todo=f"choose one of {', '.join(native.WEIGHTINGS)}",
        )
    sizes = (query.patches.shape[1], *gallery.patches.shape[1:])
    # The NumPy backend does not round float patches, the native one rounds both faces.
    dtype = solver.dtype if solver.backend_for(*sizes) == "native" else "f32"
    bound = np.empty(len(gallery))
    mine = [decode(encode(x[0], dtype)) for x in (query.patches, query.pooled)]
    for start in range(0, len(gallery), _BLOCK):
        at = slice(start, start + _BLOCK)
        theirs = [decode(encode(x[at], dtype)) for x in (gallery.patches, gallery.pooled)]
        bound[at] = _bound(mine[0], mine[1], theirs[0], theirs[1], weighting, solver)
    return bound


def _bound(
    query: Float32,
    query_pooled: Float32,
    gallery: Float32,
    gallery_pooled: Float32,
    weighting: str,
    solver: Sinkhorn,
) -> Float64:
    n, s, c = gallery.shape
    r = len(query)
    # (N, S, R), gallery patches first: one product for the whole block.
    cosine = (gallery.reshape(n * s, c) @ query.T).reshape(n, s, r)
    product_error = 2 * (c + 8) * _ROUNDOFF
    sum_error = 2 * (r + s + 32) * _ROUNDOFF
    if weighting == "uniform":
        raw_u, raw_v = np.ones((n, r)), np.ones((n, s))
        u_error = v_error = 0.0
    elif weighting == "apc":
        raw_u = np.maximum(gallery_pooled @ query.T, 0).astype(np.float64)
        raw_v = np.maximum(gallery @ query_pooled, 0).astype(np.float64)
        u_error, v_error = r * product_error, s * product_error
    else:
        difference = np.maximum(1 - cosine, 0)
        raw_u = difference.sum(axis=1).astype(np.float64)
        raw_v = difference.sum(axis=2).astype(np.float64)
        u_error = v_error = r * s * (product_error + 2 * sum_error)
    u, off_u = _shares(raw_u, u_error)
    v, off_v = _shares(raw_v, v_error)

    best_of_row, best_of_column = cosine.max(axis=1), cosine.max(axis=2)
    rows, columns = (u * best_of_row).sum(axis=1), (v * best_of_column).sum(axis=1)
    half_row, half_column = np.ptp(best_of_row, axis=1) / 2, np.ptp(best_of_column, axis=1) / 2
    rounding = product_error + 2 * sum_error

    product = (np.matmul(v[:, None, :].astype(np.float32), cosine)[:, 0] * u).sum(axis=1)
    entropy = -(v * np.log(np.maximum(v, 1e-300))).sum(axis=1)
    gap = (rows - product + off_u + off_v + 2 * rounding) / solver.epsilon + np.log(s) - entropy
    # The entropy of nearby weights differs by at most this (Fannes).
    gap += off_v * np.log(s) + np.sqrt(off_v)
    capped = np.sqrt(2 * np.maximum(gap, 0) / (2 * solver.max_iterations - 1))
    error = np.maximum(solver.tolerance, capped) + rounding

    bound = np.minimum(rows + (error + off_u) * half_row, columns + off_v * half_column) + rounding
    unsure = ~((off_u < _UNCERTAIN) & (off_v < _UNCERTAIN) & np.isfinite(bound))
    return np.where(unsure, np.inf, bound)


def _shares(raw: Float64, error: float) -> tuple[Float64, Float64]:
    """Weights scaled to sum 1, and their L1 error when ``raw`` is off by ``error`` in all."""
    total = raw.sum(axis=1)
    # Two distributions are at most 2 apart; an empty side would become uniform in the solver.
    off = np.minimum(2 * error / np.maximum(total, 1e-30), 2.0)
    off[total <= 0] = 2.0
    return raw / np.maximum(total, 1e-30)[:, None], off + 4 * _ROUNDOFF
