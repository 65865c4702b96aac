"""Where the right faces stand in each query's ranking: all that retrieval metrics need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Bools, Int64
from faceflow.errors import InputError

NEVER = int(np.iinfo(np.int64).max)
"""The rank of something that is not in the ranking."""


@dataclass(frozen=True, slots=True, eq=False)
class MateRanks:
    """Ranks of each query's mates (gallery faces of the same person), from 1.

    A ranking of a gallery of any size comes down to these few numbers, so memory grows with
    the mates and not with the gallery. Ties are broken before: a ranking orders by score,
    best first, and equal scores by the gallery's own order, as identification does.

    Attributes:
        start: (Q + 1,) query q's ranks are ``ranks[start[q]:start[q + 1]]``.
        ranks: (T,) ascending and distinct within a query.
        relevant: (Q,) R, the number of correct answers a perfect system would find. It may
            exceed the ranks there are: the published rule counts a query among its own.
    """

    start: Int64
    ranks: Int64
    relevant: Int64

    def __post_init__(self) -> None:
        found = np.diff(self.start)
        if self.start.shape != (len(self.relevant) + 1,) or self.start[0] != 0 or (found < 0).any():
            raise InputError("start does not divide the ranks among the queries")
        if self.start[-1] != len(self.ranks) or (found > self.relevant).any():
            raise InputError("a query has more ranks than relevant faces")
        inside = np.ones(len(self.ranks), dtype=np.bool_)
        inside[self.start[:-1][found > 0]] = False  # a first rank follows none of its own query
        steps = np.diff(self.ranks, prepend=0)
        if (self.ranks < 1).any() or (steps[inside] < 1).any():
            raise InputError("a query's ranks must rise and begin at 1 or later")

    def __len__(self) -> int:
        return len(self.relevant)

    @classmethod
    def collect(
        cls, ranks: Sequence[Sequence[int] | Int64], relevant: Sequence[int] | Int64
    ) -> MateRanks:
        """From one list of ranks per query, in any order."""
        parts = [np.sort(np.asarray(some, dtype=np.int64)) for some in ranks]
        start = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        flat = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        return cls(start, flat, np.asarray(relevant, dtype=np.int64))

    @property
    def query(self) -> Int64:
        """(T,) the query each rank belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    @property
    def first(self) -> Int64:
        """(Q,) rank of the best mate, or NEVER."""
        best = np.full(len(self), NEVER, dtype=np.int64)
        some = np.diff(self.start) > 0
        best[some] = self.ranks[self.start[:-1][some]]
        return best

    def select(self, chosen: Bools) -> MateRanks:
        """The queries where ``chosen`` (Q,) is true."""
        if chosen.shape != (len(self),) or chosen.dtype != np.bool_:
            raise InputError(f"chosen must be {len(self)} truths, one a query")
        found = np.diff(self.start)
        start = np.concatenate([[0], np.cumsum(found[chosen])]).astype(np.int64)
        return MateRanks(start, self.ranks[np.repeat(chosen, found)], self.relevant[chosen])
