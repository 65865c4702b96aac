"""Verification metrics: are two photos one person? Scores of pairs against the truth.

A pair is accepted when its score reaches the threshold (``score >= threshold``), so equal
scores are accepted or refused together and no order among them matters.

    FAR  share of different pairs accepted          TAR  share of same pairs accepted
    FRR  1 - TAR                                    EER  the rate where FAR = FRR
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Bools, Float64, Floats, Int64, require_finite
from faceflow.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """All operating points, from the strictest threshold to the laxest.

    Attributes:
        thresholds: (T,) infinity, then every distinct score, falling.
        far: (T,) share of different pairs accepted, rising from 0 to 1.
        tar: (T,) share of same pairs accepted, rising from 0 to 1.
    """

    thresholds: Float64
    far: Float64
    tar: Float64

    @property
    def frr(self) -> Float64:
        """(T,) share of same pairs refused; against ``far`` it draws the DET curve."""
        return 1 - self.tar


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The laxest threshold that keeps FAR at or below a target, and the rates there."""

    threshold: float
    far: float
    tar: float


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """Accuracy by LFW's rule: each fold judged at the best threshold of the others.

    Attributes:
        accuracy: (F,) per fold.
        thresholds: (F,) the threshold each fold was judged at.
    """

    accuracy: Float64
    thresholds: Float64

    @property
    def mean(self) -> float:
        """The figure LFW reports."""
        return float(self.accuracy.mean())

    @property
    def standard_error(self) -> float:
        """Standard deviation over folds (with F - 1) over the root of F, as LFW reports."""
        return float(self.accuracy.std(ddof=1) / math.sqrt(len(self.accuracy)))


def roc(scores: Floats, same: Bools) -> Roc:
    """ROC of N pairs.

    Args:
        scores: (N,) higher is more alike.
        same: (N,) the truth.

    Raises:
        InputError: shapes disagree, a score is not finite, or one of the two kinds is absent.
    """
    values, truth = _checked(scores, same)
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order], append=-np.inf))
    accepted_same = np.cumsum(truth[order])[ends]
    accepted_different = ends + 1 - accepted_same
    return Roc(
        np.concatenate([[np.inf], values[order][ends]]),
        np.concatenate([[0.0], accepted_different / (~truth).sum()]),
        np.concatenate([[0.0], accepted_same / truth.sum()]),
    )


def threshold_for(negatives: Floats, rate: float) -> float:
    """The lowest threshold at which at most ``rate`` of the negatives score as high.

    Exact for ties: where the score at the limit occurs several times, none of it is accepted.

    Args:
        negatives: (N,) scores that should be refused.
        rate: 0 to 1.

    Raises:
        InputError: no negatives, a rate outside [0, 1], or one that N cannot measure
            (between 0 and 1/N).
    """
    if not negatives.size:
        raise InputError("there is no negative to set a threshold on")
    if not 0 <= rate <= 1:
        raise InputError(f"the false alarm rate is {rate}", why="it must lie between 0 and 1")
    allowed = math.floor(rate * len(negatives) * (1 + 1e-12))  # 0.29 * 100 is 28.999...
    if rate > 0 and allowed < 1:
        raise InputError(
            f"a false alarm rate of {rate:g} cannot be measured on {len(negatives):,} negatives",
            todo=f"take at least {np.ceil(1 / rate):,.0f} negatives, or a higher rate",
        )
    if allowed >= len(negatives):
        return -math.inf
    limit = np.sort(np.asarray(negatives, dtype=np.float64))[::-1][allowed]
    return float(np.nextafter(limit, np.inf))


def tar_at_far(scores: Floats, same: Bools, far: float) -> OperatingPoint:
    """TAR where FAR is at most ``far``.

    Raises:
        InputError: as :func:`roc`, or a rate the different pairs are too few to measure.
    """
    values, truth = _checked(scores, same)
    threshold = threshold_for(values[~truth], far)
    accepted = values >= threshold
    return OperatingPoint(threshold, float(accepted[~truth].mean()), float(accepted[truth].mean()))


def eer(scores: Floats, same: Bools) -> float:
    """Equal error rate: where the ROC, its points joined by straight lines, has FAR = FRR.

    Raises:
        InputError: as :func:`roc`.
    """
    curve = roc(scores, same)
    gap = curve.far - curve.frr  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = gap[before] / (gap[before] - gap[after])
    return float(curve.far[before] + share * (curve.far[after] - curve.far[before]))


def auc(scores: Floats, same: Bools) -> float:
    """Area under the ROC: the chance that a same pair outscores a different one, ties half.

    Raises:
        InputError: as :func:`roc`.
    """
    curve = roc(scores, same)
    return float(np.sum(np.diff(curve.far) * (curve.tar[1:] + curve.tar[:-1]) / 2))


def fold_accuracy(
    scores: Floats, same: Bools, folds: Int64, *, thresholds: Floats | None = None
) -> FoldAccuracy:
    """LFW's ten-fold accuracy: for each fold the threshold comes from the other folds.

    Args:
        scores: (N,) higher is more alike.
        same: (N,) the truth.
        folds: (N,) fold of each pair, any integers.
        thresholds: candidates to choose from; the first of the best is taken. Given for
            parity with published code (insightface: ``-np.arange(0, 4, 0.01)`` on negative
            squared distances). None tries every possible one, half-way between neighbouring
            scores, and takes the middle one of the best.

    Raises:
        InputError: as :func:`roc`, fewer than two folds, or a fold whose others hold pairs of
            one kind only.
    """
    values, truth = _checked(scores, same)
    if folds.shape != values.shape:
        raise InputError(f"{len(folds)} folds for {len(values)} scores")
    names = np.unique(folds)
    if len(names) < 2:
        raise InputError("there is only one fold", why="each is judged by the others' threshold")
    accuracy, chosen = np.empty(len(names)), np.empty(len(names))
    for n, name in enumerate(names):
        held = folds == name
        train, kinds = values[~held], truth[~held]
        if kinds.all() or not kinds.any():
            raise InputError(f"the folds other than {name} hold pairs of one kind only")
        if thresholds is None:
            chosen[n] = _best_threshold(train, kinds)
        else:
            rates = [((train >= t) == kinds).mean() for t in thresholds]
            chosen[n] = thresholds[int(np.argmax(rates))]
        accuracy[n] = ((values[held] >= chosen[n]) == truth[held]).mean()
    return FoldAccuracy(accuracy, chosen)


def best_accuracy(scores: Floats, same: Bools) -> float:
    """Accuracy at the one threshold best for these very pairs: optimistic, for parity with
    code that reports it (arcface-pytorch).

    Raises:
        InputError: as :func:`roc`.
    """
    values, truth = _checked(scores, same)
    return float(((values >= _best_threshold(values, truth)) == truth).mean())


def _best_threshold(values: Float64, truth: Bools) -> float:
    curve = roc(values, truth)
    right = curve.tar * truth.sum() + (1 - curve.far) * (~truth).sum()
    best = np.flatnonzero(right >= right.max() - 0.5)  # counts, up to rounding
    middle = int(best[(len(best) - 1) // 2])
    at = curve.thresholds[middle]
    if middle == 0:
        return float(np.nextafter(curve.thresholds[1], np.inf))
    if middle == len(curve.thresholds) - 1:
        return float(at)
    between = (at + curve.thresholds[middle + 1]) / 2
    return float(between if between > curve.thresholds[middle + 1] else at)


def _checked(scores: Floats, same: Bools) -> tuple[Float64, Bools]:
    values = np.asarray(scores, dtype=np.float64)
    truth = np.asarray(same)
    if values.ndim != 1 or truth.shape != values.shape or truth.dtype != np.bool_:
        raise InputError(
            f"scores have shape {values.shape}, truths {truth.shape} {truth.dtype}",
            why="one number and one bool per pair are needed",
        )
    require_finite("scores", values)
    if not truth.any() or truth.all():
        missing = "same" if not truth.any() else "different"
        raise InputError(
            f"there is no {missing} pair among {len(truth)}", why="both kinds are needed"
        )
    return values, truth
