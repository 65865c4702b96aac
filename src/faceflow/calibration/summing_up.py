"""From judged searches to rates with intervals over people, per stratum and altogether."""

from __future__ import annotations

import numpy as np

from faceflow.arrays import Bools
from faceflow.calibration.choice import LEAST_PEOPLE, Judgement, decide
from faceflow.calibration.evidence import Evidence, Setting
from faceflow.calibration.result import Rates
from faceflow.errors import InputError
from faceflow.evaluation.metrics.significance import Interval, bootstrap, compare_people


def rates(evidence: Evidence, judged: Judgement, where: Bools, *, threshold: bool) -> Rates:
    """Rates over the searches ``where`` (Q,) is true."""
    mated, nonmated = where & evidence.mated, where & ~evidence.mated
    known = bool(mated.any())
    return Rates(
        mated=int(mated.sum()),
        nonmated=int(nonmated.sum()),
        tpir=_interval(judged.found, evidence, mated),
        fpir=_interval(judged.alarm, evidence, nonmated) if threshold else None,
        stage1_tpir=_interval(judged.found_by_stage1, evidence, mated),
        stage1_fpir=_interval(judged.alarm_by_stage1, evidence, nonmated) if threshold else None,
        test=compare_people(
            judged.found_by_stage1[mated], judged.found[mated], evidence.person[mated]
        )
        if known
        else None,
    )


def own_choice(
    evidence: Evidence, stratum: int, fpir: float | None, seed: int
) -> tuple[Setting | None, float | None]:
    """What one stratum alone would choose; nothing where it has too few searches for that."""
    alone = evidence.select(evidence.stratum == stratum)
    if len(np.unique(alone.person[alone.mated])) < LEAST_PEOPLE:
        return None, None
    try:
        decision = decide(alone, fpir, seed=seed)
    except InputError:  # too few strangers for the rate
        return None, None
    return evidence.settings[decision.setting], decision.threshold


def _interval(values: Bools, evidence: Evidence, where: Bools) -> Interval | None:
    if not np.any(where):
        return None
    return bootstrap(values[where], evidence.person[where])
