"""Who may ask how much: requests of a key per minute, work at once and in the queue."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from faceflow.server.problems import too_many
from faceflow.server.settings import Limits

P = ParamSpec("P")
R = TypeVar("R")

_FORGET = 10_000
"""Buckets kept; full ones are forgotten first, because they say nothing."""


class Rates:
    """A bucket of tokens for each key: refilled steadily, and a minute's worth deep."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._depth = float(per_minute)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Count one request. Raises a problem, 429, when the bucket is empty."""
        now = self._clock()
        with self._lock:
            tokens = self._tokens(key, now)
            if tokens < 1:
                wait = (1 - tokens) / self._rate
                raise too_many("This key asks too often", wait)
            self._buckets[key] = (tokens - 1, now)
            if len(self._buckets) > _FORGET:
                full = [k for k in self._buckets if self._tokens(k, now) >= self._depth]
                for one in full:
                    del self._buckets[one]

    def _tokens(self, key: str, now: float) -> float:
        tokens, since = self._buckets.get(key, (self._depth, now))
        return min(self._depth, tokens + (now - since) * self._rate)


class Computing:
    """A few threads for what takes the processor, and a queue that does not grow without end."""

    def __init__(self, limits: Limits) -> None:
        self._pool = ThreadPoolExecutor(limits.searches, thread_name_prefix="faceflow-compute")
        self._places = limits.searches + limits.queue
        self._at_once = limits.searches
        self._seconds = 0.5
        self.taken = 0
        """Pieces of work that run or wait."""
        self.refused = 0

    async def run(self, function: Callable[P, R], /, *arguments: P.args, **named: P.kwargs) -> R:
        """The function's answer, from one of the threads.

        Work that has begun is finished though nobody waits for it any more; work that still
        waits then is dropped.

        Raises:
            Problem: 429 when the queue is full.
        """
        if self.taken >= self._places:
            self.refused += 1
            raise too_many(
                "The service is busy",
                self._seconds * self.taken / self._at_once,
                why=f"{self.taken} photos are being worked on or wait",
            )
        loop = asyncio.get_running_loop()
        self.taken += 1
        future = self._pool.submit(self._timed, function, *arguments, **named)
        future.add_done_callback(lambda _: self._done(loop))
        answer: R = await asyncio.wrap_future(future)
        return answer

    def _timed(self, function: Callable[..., R], /, *arguments: object, **named: object) -> R:
        start = time.monotonic()
        try:
            return function(*arguments, **named)
        finally:
            # How long the queue takes is told from how long work took of late.
            self._seconds = 0.8 * self._seconds + 0.2 * (time.monotonic() - start)

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._give_back)
        except RuntimeError:  # the loop has ended, and nobody counts any more
            self._give_back()

    def _give_back(self) -> None:
        self.taken -= 1

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)
