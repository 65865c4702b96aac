"""Checks shared by all solvers, so that every backend refuses the same input in the same words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Bools, Float64, Floats
from faceflow.errors import InputError

MOST_COSINE = 1e6
"""Products of patches beyond this are no cosines of anything: with 16 digits nothing could tell
where mass should go. The kernel (``native/src/pair.hpp``) draws the same line."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """N checked transport problems that share one query.

    Attributes:
        cosine: (N, R, S) float64.
        u: (N, R) float64, query weights, each row scaled to sum 1 (or all zero).
        v: (N, S) float64, gallery weights, likewise.
        invalid: (N,) True where a cosine or weight is NaN or infinite, or a cosine lies beyond
            :data:`MOST_COSINE`.
        no_mass: (N,) True where one side has no weight at all.
    """

    cosine: Float64
    u: Float64
    v: Float64
    invalid: Bools
    no_mass: Bools


def pose(cosine: Floats, u: Floats, v: Floats) -> Problem:
    """Check shapes and weights and scale the weights to sum 1 on both sides.

    Args:
        cosine: (N, R, S) similarity of query patch i to gallery patch j.
        u: (N, R), or (R,) shared by all pairs; not negative.
        v: (N, S), or (S,) shared by all pairs; not negative.

    Raises:
        InputError: shapes disagree or a weight is negative.
    """
    if cosine.ndim != 3 or 0 in cosine.shape[1:]:
        raise InputError(
            f"cosine has shape {cosine.shape}", why="(N, R, S) with R and S at least 1 is needed"
        )
    n, r, s = cosine.shape
    wide = np.asarray(cosine, dtype=np.float64)
    mass = masses(u, v, (1, n, r, s))
    # Not so for NaN either.
    sound = np.asarray((np.abs(wide) <= MOST_COSINE).all(axis=(1, 2)), dtype=np.bool_)
    finite = sound & ~mass.invalid
    return Problem(wide, mass.u, mass.v, ~finite, finite & mass.no_mass)


@dataclass(frozen=True, slots=True, eq=False)
class Masses:
    """The weights of N pairs, checked and scaled; see :class:`Problem`."""

    u: Float64
    v: Float64
    invalid: Bools
    no_mass: Bools


def masses(u: Floats, v: Floats, sizes: tuple[int, int, int, int]) -> Masses:
    """Check weights, and scale them to sum 1 on both sides.

    Args:
        u: (R,), (N, R) or, for B queries, (B, N, R).
        v: (S,), (N, S) or (B, N, S).
        sizes: B, N, R, S.

    Returns:
        The weights of B * N pairs, those of the first query first.

    Raises:
        InputError: another shape, or a negative weight.
    """
    b, n, r, s = sizes
    rows, columns = _weights("u", u, b, n, r), _weights("v", v, b, n, s)
    finite = _all_finite(rows) & _all_finite(columns)
    empty: Bools = (rows.max(axis=1) <= 0) | (columns.max(axis=1) <= 0)
    return Masses(_scaled(rows), _scaled(columns), ~finite, empty)


def patch_cosine(query_patches: Floats, gallery_patches: Floats) -> Float64:
    """(N, R, S) cosine of every query patch with every patch of N gallery faces.

    Each face is multiplied on its own, so that a value never depends on its neighbours in
    the batch, not even in the last bit.

    Args:
        query_patches: (R, C), unit rows.
        gallery_patches: (N, S, C), unit rows.
    """
    if (
        query_patches.ndim != 2
        or gallery_patches.ndim != 3
        or query_patches.shape[1] != gallery_patches.shape[2]
    ):
        raise InputError(
            f"query patches {query_patches.shape} do not go with gallery patches "
            f"{gallery_patches.shape}",
            why="(R, C) and (N, S, C) with one C are needed",
        )
    query = np.asarray(query_patches, dtype=np.float64)
    cosine = np.empty((len(gallery_patches), len(query), gallery_patches.shape[1]))
    for n, face in enumerate(gallery_patches):
        # A NaN patch marks its own pair as invalid later on; it is no fault of the product.
        with np.errstate(invalid="ignore"):
            np.matmul(query, np.asarray(face, dtype=np.float64).T, out=cosine[n])
    return cosine


def _all_finite(rows: Float64) -> Bools:
    return np.asarray(np.isfinite(rows).all(axis=1), dtype=np.bool_)


def _scaled(weights: Float64) -> Float64:
    """Scale rows to sum 1; by the largest first, so that denormal weights do not divide to inf."""
    with np.errstate(invalid="ignore", divide="ignore"):
        top = weights.max(axis=1, keepdims=True)
        shares = weights / top
        return np.asarray(np.where(top > 0, shares / shares.sum(axis=1, keepdims=True), 0.0))


def check_weights(name: str, weights: Floats, n: int, size: int, *, batch: int = 1) -> Floats:
    """Weights of any float type as (size,), (n, size) or, for a batch, (batch, n, size).

    Raises:
        InputError: another shape, or a negative weight (the message names the first).
    """
    given = np.asarray(weights)
    if not np.issubdtype(given.dtype, np.floating):
        given = given.astype(np.float64)
    if given.shape not in ((size,), (n, size), (batch, n, size)):
        raise InputError(
            f"weights {name} have shape {np.shape(weights)}", why=f"({n}, {size}) is needed"
        )
    if (given < 0).any():
        rows = np.atleast_2d(given)
        patch = tuple(int(i) for i in np.argwhere(rows < 0)[0])
        raise InputError(
            f"weight {name}{list(patch)} is negative ({rows[patch]:g})",
            todo="clip the weights at zero first: mass cannot be negative",
        )
    return given


def _weights(name: str, weights: Floats, b: int, n: int, size: int) -> Float64:
    given = check_weights(name, weights, n, size, batch=b).astype(np.float64)
    return np.asarray(np.broadcast_to(given, (b, n, size)).reshape(b * n, size))
