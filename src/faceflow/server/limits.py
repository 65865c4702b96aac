"""Who may ask how much: limits as they are now, requests of a key per minute, work at once."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from faceflow.server.problems import invalid, too_many
from faceflow.server.settings import MIB, Limits
from faceflow.server.state import State

P = ParamSpec("P")
R = TypeVar("R")

_FORGET = 10_000
"""Buckets kept; full ones are forgotten first, because they say nothing."""


ADJUSTABLE: dict[str, tuple[float, float]] = {
    "photo_bytes": (1024, 200 * MIB),
    "photos": (1, 10_000),
    "request_bytes": (64 * 1024, 4096 * MIB),
    "queue": (1, 10_000),
    # Not so few that nobody could change them back.
    "requests": (8, 10_000),
    "per_minute": (30, 10**9),
    "candidates": (1, 100_000),
    "upload_seconds": (1, 3600),
    "search_hours": (0.1, 24 * 366),
}
"""Limits that an administrator may change while the service runs, with the least and the most.

The others are those of processes and threads that are there already.
"""
_NAME = "limits"
_SEEN = 1.0
"""Seconds for which a process may go on with limits that another one changed."""


class CurrentLimits:
    """The limits as they are now: as the service was started, and as they were changed since.

    A change holds for all processes and outlives a restart.
    """

    def __init__(
        self, state: State, given: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state, self._given, self._clock = state, given, clock
        self._now, self._read = given, -math.inf

    def __call__(self) -> Limits:
        """The limits now."""
        if self._clock() - self._read > _SEEN:
            with self._state.reading() as connection:
                changed = _changed(connection)
            # A file of another version may hold what is none any more.
            held = {name: value for name, value in changed.items() if name in ADJUSTABLE}
            self._now, self._read = replace(self._given, **held), self._clock()
        return self._now

    def change(self, connection: sqlite3.Connection, changes: Mapping[str, float | None]) -> None:
        """Change some; None takes the one that the service was started with.

        Raises:
            Problem: 422, a limit that cannot be changed, or to no such value.
        """
        kept = _changed(connection)
        for name, value in changes.items():
            if name not in ADJUSTABLE:
                raise invalid(
                    f"The limit {name[:40]!r} cannot be changed while the service runs",
                    todo=f"these can: {', '.join(ADJUSTABLE)}",
                )
            least, most = ADJUSTABLE[name]
            if value is None:
                kept.pop(name, None)
                continue
            if not least <= value <= most:
                raise invalid(f"{name} is {value:g}", why=f"it takes {least:,g} to {most:,g}")
            whole = isinstance(getattr(self._given, name), int)
            if whole and value != int(value):
                raise invalid(f"{name} is {value:g}", why="it takes a whole number")
            kept[name] = int(value) if whole else float(value)
        connection.execute("INSERT OR REPLACE INTO setting VALUES(?, ?)", (_NAME, json.dumps(kept)))
        self._read = -math.inf


def _changed(connection: sqlite3.Connection) -> dict[str, Any]:
    row = connection.execute("SELECT content FROM setting WHERE name = ?", (_NAME,)).fetchone()
    found: dict[str, Any] = {} if row is None else json.loads(row[0])
    return found


class Rates:
    """A bucket of tokens for each key: refilled steadily, and a minute's worth deep."""

    def __init__(
        self, limits: Callable[[], Limits], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Count one request. Raises a problem, 429, when the bucket is empty."""
        now, depth = self._clock(), float(self._limits().per_minute)
        with self._lock:
            tokens = self._tokens(key, now, depth)
            if tokens < 1:
                wait = (1 - tokens) / (depth / 60)
                raise too_many("This key asks too often", wait)
            self._buckets[key] = (tokens - 1, now)
            if len(self._buckets) > _FORGET:
                full = [k for k in self._buckets if self._tokens(k, now, depth) >= depth]
                for one in full:
                    del self._buckets[one]

    def _tokens(self, key: str, now: float, depth: float) -> float:
        tokens, since = self._buckets.get(key, (depth, now))
        return min(depth, tokens + (now - since) * depth / 60)


class Computing:
    """A few threads for what takes the processor, and a queue that does not grow without end."""

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits
        self._at_once = limits().searches
        self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="faceflow-compute")
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
        if self.taken >= self._at_once + self._limits().queue:
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
