"""How sure a number is: intervals that resample people, and paired tests of two methods.

Photos of one person succeed or fail together, so queries are not independent: a handful of
people have hundreds of photos. Intervals therefore resample people, with all their queries
(cluster bootstrap, percentile method), and the paired test is also given over people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from faceflow.arrays import Bools, Float64, Floats, Int64
from faceflow.errors import InputError

_CELLS = 4_000_000  # people drawn at once, over all rounds: 32 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a confidence interval.

    Attributes:
        estimate: over all queries.
        low: lower end.
        high: upper end.
        level: confidence, e.g. 0.95.
        people: how many people were resampled; the interval means little below about 20.
    """

    estimate: float
    low: float
    high: float
    level: float
    people: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two methods on the same queries (or people).

    Attributes:
        wins: units the second gets right (or does better on) and the first does not.
        losses: the reverse.
        ties: units on which they agree.
        p_value: exact two-sided McNemar (sign) test: how likely so lopsided a split of wins
            and losses is when neither method is better.
    """

    wins: int
    losses: int
    ties: int
    p_value: float


def bootstrap(
    values: Floats | Bools,
    people: Int64,
    *,
    rounds: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the mean of one value per query, resampling people.

    Where truths are all true or all false every sample agrees and the percentile interval has
    no width; the open end is then the exact binomial bound for that many people
    (Clopper-Pearson).

    Args:
        values: (Q,) numbers, differences or truths.
        people: (Q,) whose query each is, any integers.
        rounds: bootstrap samples.
        level: confidence.
        seed: of the samples.

    Raises:
        InputError: no query, shapes disagree, a value is not finite, or an option is out of
            range.
    """
    numbers = np.asarray(values, dtype=np.float64)
    codes = _codes(people, len(numbers))
    if not np.isfinite(numbers).all():
        raise InputError("a value is NaN or infinite")
    count = np.bincount(codes)
    total = np.bincount(codes, weights=numbers)
    samples = np.concatenate(
        [(drawn @ total) / (drawn @ count) for drawn in _draws(len(count), rounds, seed)]
    )
    interval = _percentiles(float(numbers.mean()), samples, level, len(count))
    if values.dtype == np.bool_ and (values.all() or not values.any()):
        bound = ((1 - level) / 2) ** (1 / len(count))
        low, high = (bound, 1.0) if values.all() else (0.0, 1 - bound)
        return Interval(interval.estimate, low, high, level, len(count))
    return interval


def bootstrap_of(
    statistic: Callable[[Int64], float],
    people: Int64,
    *,
    rounds: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of any statistic, resampling people.

    Args:
        statistic: takes the rows of a sample (with repeats) and gives a number; called with
            all rows in order for the estimate.
        people: (Q,) whose row each is, any integers.
        rounds: bootstrap samples.
        level: confidence.
        seed: of the samples.

    Raises:
        InputError: no row, or an option out of range; and what the statistic raises, e.g.
            because a sample holds rows of one kind only.
    """
    codes = _codes(people, len(people))
    rows = np.argsort(codes, kind="stable")
    count = np.bincount(codes)
    ends = np.cumsum(count)
    samples: list[float] = []
    for drawn in _draws(len(count), rounds, seed):
        for times in drawn:
            chosen = np.repeat(np.arange(len(count)), times)
            parts = [rows[ends[person] - count[person] : ends[person]] for person in chosen]
            samples.append(statistic(np.concatenate(parts)))
    estimate = statistic(np.arange(len(codes)))
    return _percentiles(estimate, np.asarray(samples, dtype=np.float64), level, len(count))


def compare(first: Bools | Floats, second: Bools | Floats) -> PairedTest:
    """Exact McNemar test of two methods, query by query: right or wrong, or higher is better.

    It treats queries as independent; :func:`compare_people` does not.

    Args:
        first: (Q,) the method to beat, e.g. stage 1's P@1.
        second: (Q,) the other, e.g. stage 2's.

    Raises:
        InputError: no query, or shapes disagree.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise InputError(f"two methods on one set of queries are needed: {a.shape}, {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("a value is NaN or infinite")
    wins, losses = int((b > a).sum()), int((b < a).sum())
    return PairedTest(wins, losses, len(a) - wins - losses, sign_test(wins, losses))


def compare_people(first: Bools | Floats, second: Bools | Floats, people: Int64) -> PairedTest:
    """The same test with people as the units: a person is won when the second method does
    better over all their queries together.

    Raises:
        InputError: as :func:`compare`.
    """
    difference = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    codes = _codes(people, len(difference))
    total = np.asarray(np.bincount(codes, weights=difference), dtype=np.float64)
    total = np.where(np.abs(total) < 1e-9, 0.0, total)  # a sum of thirds may miss zero by rounding
    return compare(np.zeros(len(total)), total)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact binomial test of wins against losses at even odds.

    Raises:
        InputError: a negative count.
    """
    if wins < 0 or losses < 0:
        raise InputError(f"{wins} wins and {losses} losses", why="counts cannot be negative")
    n = wins + losses
    term = tail = 1  # binomial coefficients, each from the one before
    for i in range(min(wins, losses)):
        term = term * (n - i) // (i + 1)
        tail += term
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))


def _codes(people: Int64, size: int) -> Int64:
    if people.shape != (size,) or not size:
        raise InputError(f"{people.shape} people for {size} values", why="one a value is needed")
    return np.unique(people, return_inverse=True)[1].astype(np.int64)


def _draws(people: int, rounds: int, seed: int) -> Iterator[Int64]:
    """(some, people) how often each person was drawn, until ``rounds`` samples are given."""
    if rounds < 1:
        raise InputError(f"rounds is {rounds}", why="at least one sample is needed")
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // people)
    for done in range(0, rounds, block):
        some = min(block, rounds - done)
        drawn = generator.integers(people, size=(some, people))
        drawn += np.arange(some)[:, None] * people
        yield np.bincount(drawn.ravel(), minlength=some * people).reshape(some, people)


def _percentiles(estimate: float, samples: Float64, level: float, people: int) -> Interval:
    if not 0 < level < 1:
        raise InputError(f"the level is {level}", why="it must lie between 0 and 1")
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, people)
