"""Open-set identification: the person behind a query may not be enrolled at all.

The terms are those of ISO/IEC 19795-1 and NIST's 1:N reports (IR 8271), for a threshold T:

    FPIR(T)     share of non-mated searches (nobody to find) that return anyone at T or above
    FNIR(T, R)  share of mated searches whose mate is not returned: below T, or outside rank R
    TPIR(T, R)  1 - FNIR(T, R)

"Returned at T" means ``score >= T``. A search's strongest candidate decides a false positive,
so FPIR grows with the gallery. Ranks count faces, and R is 1 unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Bools, Float64, Int64
from faceflow.errors import InputError
from faceflow.evaluation.metrics.mates import NEVER
from faceflow.evaluation.metrics.pairs import threshold_for


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """What Q searches returned, as far as open-set metrics ask.

    Attributes:
        mated: (Q,) whether a face of the query's person could be found.
        top: (Q,) score of the strongest candidate, minus infinity where none was returned.
        mate: (Q,) score of the best-ranked mate, minus infinity where none was returned.
        rank: (Q,) its rank from 1, or NEVER.
    """

    mated: Bools
    top: Float64
    mate: Float64
    rank: Int64

    def __post_init__(self) -> None:
        if not self.mated.any() or self.mated.all():
            missing = "mated" if not self.mated.any() else "non-mated"
            raise InputError(
                f"there is no {missing} search among {len(self.mated)}",
                why="open-set rates need searches of both kinds",
                todo="take the open-set protocol, which leaves some people out of the gallery",
            )
        if np.isnan(self.top).any() or np.isposinf(self.top).any():
            raise InputError("a search's top score is NaN or infinite")
        if np.isnan(self.mate).any() or ((self.rank == NEVER) != np.isneginf(self.mate)).any():
            raise InputError("a mate needs a score and a rank, or neither")

    def select(self, rows: Int64) -> Searches:
        """These searches, which may repeat: a bootstrap sample."""
        return Searches(self.mated[rows], self.top[rows], self.mate[rows], self.rank[rows])


@dataclass(frozen=True, slots=True)
class IdentificationPoint:
    """Rates at one threshold.

    Attributes:
        threshold: the least score that is returned.
        fpir: the rate reached, at most the one asked for.
        tpir: share of mated searches that return the mate.
        mated: mated searches.
        nonmated: non-mated searches; a rate below 1 over their number cannot be measured.
    """

    threshold: float
    fpir: float
    tpir: float
    mated: int
    nonmated: int

    @property
    def fnir(self) -> float:
        """Share of mated searches that miss the mate."""
        return 1 - self.tpir


@dataclass(frozen=True, slots=True, eq=False)
class Det:
    """Detection error trade-off: (T,) thresholds falling, FPIR rising, FNIR falling."""

    thresholds: Float64
    fpir: Float64
    fnir: Float64


def at_threshold(searches: Searches, threshold: float, *, within: int = 1) -> IdentificationPoint:
    """Rates at a given threshold; ``within`` is R, the worst rank a mate may have."""
    mated = searches.mated
    found = (searches.mate[mated] >= threshold) & (searches.rank[mated] <= _rank(within))
    alarms = searches.top[~mated] >= threshold
    return IdentificationPoint(
        threshold, float(alarms.mean()), float(found.mean()), len(found), len(alarms)
    )


def tpir_at_fpir(searches: Searches, fpir: float, *, within: int = 1) -> IdentificationPoint:
    """Rates at the lowest threshold whose FPIR is at most ``fpir``.

    Raises:
        InputError: a rate outside [0, 1], or one the non-mated searches are too few to measure.
    """
    return at_threshold(searches, threshold_for(searches.top[~searches.mated], fpir), within=within)


def det(searches: Searches, *, within: int = 1) -> Det:
    """FPIR and FNIR at infinity and at every score a search returned."""
    mated = searches.mated
    inside = searches.rank[mated] <= _rank(within)
    found = np.sort(searches.mate[mated][inside])
    alarms = np.sort(searches.top[~mated])
    thresholds = np.concatenate([[np.inf], np.unique(np.concatenate([found, alarms]))[::-1]])

    def reached(scores: Float64) -> Int64:
        return np.asarray(len(scores) - np.searchsorted(scores, thresholds, side="left"))

    return Det(thresholds, reached(alarms) / len(alarms), 1 - reached(found) / int(mated.sum()))


def _rank(within: int) -> int:
    if within < 1:
        raise InputError(f"within is {within}", why="ranks begin at 1")
    return min(within, NEVER - 1)
