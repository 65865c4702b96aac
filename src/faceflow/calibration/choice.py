"""The choice of a setting and a threshold, made on some people and judged on others.

On the people at hand a setting's worth is its TPIR at the target FPIR (rank-1 accuracy when no
threshold is asked), each stratum counting the same. The threshold keeps every stratum at the
target: pooled, strangers without a cover would raise more alarms than was asked for and those
under one fewer. The simplest setting within one standard
error of the best is taken (the one-standard-error rule, Breiman et al. 1984, section 3.4.3), the
error being that of the paired difference, over people. Stage 2 is then used at all only if it
beats stage 1 on people that did not choose it: an inner cross-validation and an exact sign test
over people. An outer cross-validation around all of this gives the numbers to report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Bools, Float64, Int64
from faceflow.calibration.evidence import Evidence
from faceflow.evaluation.metrics.pairs import threshold_for
from faceflow.evaluation.metrics.significance import PairedTest, compare_people

OUTER_FOLDS = 5
INNER_FOLDS = 4
LEAST_PEOPLE = 2 * OUTER_FOLDS
"""Least people of either kind: two in each fold."""
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Decision:
    """What some people decided.

    Attributes:
        setting: position in ``Evidence.settings``; 0 is stage 1 alone.
        threshold: the least score that counts as identified, None when none was asked.
        candidate: the setting that would have been taken if stage 2 always were.
        test: stage 1 against chosen settings, on people apart from the choice.
    """

    setting: int
    threshold: float | None
    candidate: int
    test: PairedTest


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """How decisions do on people that had no part in them.

    Attributes:
        found: (Q,) whether a search returned the right person (false for non-mated ones).
        alarm: (Q,) whether a non-mated search returned anybody.
        found_by_stage1, alarm_by_stage1: the same for stage 1 with its own threshold.
        decisions: of each fold.
    """

    found: Bools
    alarm: Bools
    found_by_stage1: Bools
    alarm_by_stage1: Bools
    decisions: tuple[Decision, ...]


def decide(evidence: Evidence, fpir: float | None, *, seed: int = 0) -> Decision:
    """Choose a setting and a threshold.

    Args:
        evidence: searches of the people to decide on.
        fpir: target false positive identification rate; None chooses by rank-1 accuracy.
        seed: of the inner folds.

    Raises:
        InputError: no mated search, or too few non-mated ones for ``fpir``.
    """
    found = np.zeros(len(evidence), dtype=np.bool_)
    base = np.zeros(len(evidence), dtype=np.bool_)
    for train, test in folds(evidence, INNER_FOLDS, seed):
        learned, judged = evidence.select(train), evidence.select(test)
        chosen = simplest_good(learned, fpir)
        found[test] = _found(judged, chosen, _threshold(learned, chosen, fpir))
        base[test] = _found(judged, 0, _threshold(learned, 0, fpir))
    mated = evidence.mated
    test_result = compare_people(base[mated], found[mated], evidence.person[mated])
    candidate = simplest_good(evidence, fpir)
    setting = candidate if _helps(test_result) else 0
    return Decision(setting, _threshold(evidence, setting, fpir), candidate, test_result)


def judge(
    evidence: Evidence, fpir: float | None, *, folds_count: int = OUTER_FOLDS, seed: int = 0
) -> Judgement:
    """Let each fold's people be judged by what the other folds' people decide.

    Raises:
        InputError: as :func:`decide`.
    """
    size = len(evidence)
    found, alarm, base, base_alarm = (np.zeros(size, dtype=np.bool_) for _ in range(4))
    decisions = []
    for train, test in folds(evidence, folds_count, seed):
        learned, judged = evidence.select(train), evidence.select(test)
        decision = decide(learned, fpir, seed=seed + 1)
        decisions.append(decision)
        found[test] = _found(judged, decision.setting, decision.threshold)
        alarm[test] = _alarm(judged, decision.setting, decision.threshold)
        threshold = _threshold(learned, 0, fpir)
        base[test] = _found(judged, 0, threshold)
        base_alarm[test] = _alarm(judged, 0, threshold)
    return Judgement(found, alarm, base, base_alarm, tuple(decisions))


def simplest_good(evidence: Evidence, fpir: float | None) -> int:
    """Position of the simplest setting within one standard error of the best.

    Raises:
        InputError: no mated search, or too few non-mated ones for ``fpir``.
    """
    good = evidence.hit & evidence.mated
    if fpir is not None:
        limits = [_threshold(evidence, n, fpir) for n in range(len(evidence.settings))]
        good &= evidence.top >= np.array(limits, dtype=np.float64)[:, None]
    weights = _weights(evidence)
    worth = good @ weights
    best = int((worth > worth.max() - 1e-12).argmax())
    gap = _by_person((good[best].astype(np.float64) - good) * weights, evidence.person)
    people = gap.shape[1]
    total = gap.sum(axis=1)
    spread = ((gap - total[:, None] / people) ** 2).sum(axis=1)
    error = np.sqrt(spread * people / max(1, people - 1))
    return int((total <= error + 1e-12).argmax())


def folds(evidence: Evidence, count: int, seed: int) -> Iterator[tuple[Int64, Int64]]:
    """(train, test) rows, every person in one test fold, mated and non-mated searches spread
    evenly: people with the most searches are dealt out first, each to the emptiest fold."""
    generator = np.random.default_rng(seed)
    people, code = np.unique(evidence.person, return_inverse=True)
    shuffled = generator.permutation(len(people))
    mated = np.bincount(code, weights=evidence.mated, minlength=len(people)) > 0
    searches = np.bincount(code, minlength=len(people))
    fold = np.zeros(len(people), dtype=np.int64)
    for kind in (True, False):
        filled = np.zeros(count)
        some = shuffled[mated[shuffled] == kind]
        for person in some[np.argsort(-searches[some], kind="stable")]:
            fold[person] = filled.argmin()
            filled[fold[person]] += searches[person]
    of_search = fold[code]
    for n in range(count):
        yield np.flatnonzero(of_search != n), np.flatnonzero(of_search == n)


def _helps(test: PairedTest) -> bool:
    return test.wins > test.losses and test.p_value < SIGNIFICANCE


def _threshold(evidence: Evidence, setting: int, fpir: float | None) -> float | None:
    """The lowest at which no stratum exceeds the rate, of those with searches enough to tell."""
    if fpir is None:
        return None
    strangers = ~evidence.mated
    top = evidence.top[setting]
    count = np.bincount(evidence.stratum[strangers], minlength=len(evidence.strata))
    able = np.flatnonzero(count * fpir * (1 + 1e-12) >= 1)
    if not len(able):  # small strata may do together; if not, this says how many are needed
        return threshold_for(top[strangers], fpir)
    return max(threshold_for(top[strangers & (evidence.stratum == n)], fpir) for n in able)


def _found(evidence: Evidence, setting: int, threshold: float | None) -> Bools:
    found = evidence.hit[setting] & evidence.mated
    if threshold is not None:
        found = found & (evidence.top[setting] >= threshold)
    return np.asarray(found)


def _alarm(evidence: Evidence, setting: int, threshold: float | None) -> Bools:
    if threshold is None:
        return np.zeros(len(evidence), dtype=np.bool_)
    return np.asarray(~evidence.mated & (evidence.top[setting] >= threshold))


def _weights(evidence: Evidence) -> Float64:
    """(Q,) what each mated search counts: strata alike, and searches alike within one."""
    of_stratum = np.bincount(evidence.stratum[evidence.mated], minlength=len(evidence.strata))
    present = max(1, int((of_stratum > 0).sum()))
    share = 1 / (present * np.maximum(of_stratum, 1))
    return np.where(evidence.mated, share[evidence.stratum], 0.0)


def _by_person(values: Float64, person: Int64) -> Float64:
    """(S, Q) -> (S, P) sums over each person's searches."""
    order = np.argsort(person, kind="stable")
    starts = np.flatnonzero(np.diff(person[order], prepend=person[order][0] - 1))
    return np.asarray(np.add.reduceat(values[:, order], starts, axis=1))
