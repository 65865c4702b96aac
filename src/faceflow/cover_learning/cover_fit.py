"""One logistic regression per patch place, from the raw patch to whether its cell is covered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Bools, Float32, Float64, Floats
from faceflow.features import FaceFeatures
from faceflow.matching.covers import CoverModel

RIDGE = 3e-3
"""Penalty on the squared weights of patches of unit variance; chosen on LFW's tuning half."""
_STEPS = 30
_TOLERANCE = 1e-5
_LEAST = 5
"""Faces of either kind that a place needs; with fewer its share of covered faces stands."""
Progress = Callable[[int, int], None]


def fit_cover(
    features: FaceFeatures,
    hidden: Bools,
    rows: Bools,
    *,
    ridge: float = RIDGE,
    progress: Progress | None = None,
) -> CoverModel:
    """Fit a cover model.

    Args:
        features: of N faces, as the network gave them.
        hidden: (N, R) which patches are covered.
        rows: (N,) the faces to fit on.
        ridge: penalty, see :data:`RIDGE`.
        progress: told (places done, places in all).

    Returns:
        The model; its ``mean`` is the mean raw patch over the faces where a place is not covered.
    """
    _, r, c = features.patches.shape
    weight, bias, mean = np.zeros((r, c)), np.zeros(r), np.zeros((r, c))
    for place in range(r):
        x = raw(features, place)[rows]
        y = hidden[rows, place]
        shown = x[~y] if (~y).any() else x
        mean[place] = shown.mean(axis=0)
        weight[place], bias[place] = logistic(x, y, ridge)
        if progress is not None:
            progress(place + 1, r)
    return CoverModel(weight.astype(np.float32), bias.astype(np.float32), mean.astype(np.float32))


def raw(features: FaceFeatures, place: int) -> Float64:
    """(N, C) the raw patches of one place."""
    patches = features.patches[:, place].astype(np.float64)
    return np.asarray(patches * features.norms[:, place, None], dtype=np.float64)


def logistic(x: Float64, y: Bools, ridge: float) -> tuple[Float64, float]:
    """Logistic regression by Newton's method; the bias is not penalised.

    Args:
        x: (N, C).
        y: (N,) whether each is covered.
        ridge: penalty on the squared weights of x scaled to unit variance, per sample.

    Returns:
        weight (C,) and bias. Where hardly any sample is of one kind the weights are 0.
    """
    n, c = x.shape
    positive = int(y.sum())
    if min(positive, n - positive) < _LEAST:
        share = (positive + 0.5) / (n + 1)
        return np.zeros(c), float(np.log(share / (1 - share)))
    scale = max(float(x.std()), 1e-12)
    mean = x.mean(axis=0)
    design = np.column_stack([(x - mean) / scale, np.ones(n)])
    penalty = np.full(c + 1, ridge * n)
    penalty[-1] = 1e-6
    beta = np.zeros(c + 1)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        gradient = design.T @ (p - y) + penalty * beta
        hessian = (design * (p * (1 - p) + 1e-9)[:, None]).T @ design
        hessian[np.diag_indices(c + 1)] += penalty
        step = np.linalg.solve(hessian, gradient)
        beta -= step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < _TOLERANCE:
            break
    weight = beta[:-1] / scale
    return weight, float(beta[-1] - weight @ mean)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """How well covers are told on photos that the model did not see.

    Attributes:
        auc: (R,) float64 area under the ROC curve of each place; NaN where no face, or every
            face, is covered there.
        right: share of all patches told right at even odds.
        found: share of the covered patches that are told.
        false: share of the uncovered patches that are taken for covered.
        faces: faces judged.
    """

    auc: Float64
    right: float
    found: float
    false: float
    faces: int


def judge(covered: Float32, hidden: Bools) -> HeldOut:
    """Compare probabilities (N, R), made for faces the model did not see, with the truth."""
    guess = covered > 0.5
    some, rest = hidden.any(), (~hidden).any()
    return HeldOut(
        auc=np.array([area(covered[:, r], hidden[:, r]) for r in range(hidden.shape[1])]),
        right=float((guess == hidden).mean()),
        found=float(guess[hidden].mean()) if some else float("nan"),
        false=float(guess[~hidden].mean()) if rest else float("nan"),
        faces=len(hidden),
    )


def area(score: Floats, truth: Bools) -> float:
    """Area under the ROC curve: how often a covered patch scores higher; ties count a half."""
    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))
