"""Counts and times in the text format of Prometheus, without names of anybody or anything.

Each process counts for itself. Where several workers answer at one address, each leaves its counts
in the state file from time to time, and whichever is asked tells the sum.
"""

from __future__ import annotations

import bisect
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from faceflow.server.owners import is_gone, new_owner
from faceflow.server.state import PARTS, State

PARTS.append(("CREATE TABLE worker_counts(worker TEXT PRIMARY KEY, content TEXT NOT NULL)",))

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""

Gauges = Mapping[str, tuple[str, float]]
"""Name -> what it is, and the value; what ends in ``_total`` counts up."""


@dataclass
class Counts:
    """What was answered.

    Attributes:
        answers: "METHOD route status" -> how many.
        times: route -> how many took up to each of :data:`BUCKETS`, more, and seconds in all.
        gauges: numbers of one moment.
    """

    answers: dict[str, int] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)
    gauges: dict[str, tuple[str, float]] = field(default_factory=dict)

    def add(self, other: Counts, *, gone: bool = False) -> None:
        """Add another's; of one that is gone only what counts up."""
        for name, count in other.answers.items():
            self.answers[name] = self.answers.get(name, 0) + count
        for route, kept in other.times.items():
            own = self.times.setdefault(route, [0.0] * len(kept))
            self.times[route] = [a + b for a, b in zip(own, kept, strict=True)]
        for name, (what, value) in other.gauges.items():
            if not gone or name.endswith("_total"):
                self.gauges[name] = what, self.gauges.get(name, ("", 0.0))[1] + value

    def text(self) -> str:
        """In the format of Prometheus."""
        lines = [
            "# HELP faceflow_requests_total Requests answered.",
            "# TYPE faceflow_requests_total counter",
        ]
        for name, count in sorted(self.answers.items()):
            method, route, status = name.split(" ")
            labels = f'method="{method}",route="{route}",status="{status}"'
            lines.append(f"faceflow_requests_total{{{labels}}} {count}")
        name = "faceflow_request_seconds"
        lines += [f"# HELP {name} Time to answer.", f"# TYPE {name} histogram"]
        for route, kept in sorted(self.times.items()):
            total = 0.0
            for bound, more in zip((*BUCKETS, "+Inf"), kept, strict=False):
                total += more
                lines.append(f'{name}_bucket{{route="{route}",le="{bound}"}} {total:.0f}')
            lines.append(f'{name}_sum{{route="{route}"}} {kept[-1]:.6f}')
            lines.append(f'{name}_count{{route="{route}"}} {total:.0f}')
        for gauge, (what, value) in sorted(self.gauges.items()):
            kind = "counter" if gauge.endswith("_total") else "gauge"
            lines += [f"# HELP {gauge} {what}", f"# TYPE {gauge} {kind}", f"{gauge} {value:g}"]
        return "\n".join(lines) + "\n"


class Metrics:
    """What a process has answered since it started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()
        self._worker = new_owner()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            method: of HTTP, one of the known ones.
            route: its template, e.g. ``/v1/galleries/{gallery}``; never the path itself.
            status: of HTTP.
            seconds: from the request's head to the answer's end.
        """
        name = f"{method} {route} {status}"
        with self._lock:
            self._counts.answers[name] = self._counts.answers.get(name, 0) + 1
            # Cumulative only when written; then the sum.
            kept = self._counts.times.setdefault(route, [0.0] * (len(BUCKETS) + 2))
            kept[bisect.bisect_left(BUCKETS, seconds)] += 1
            kept[-1] += seconds

    def counts(self, gauges: Gauges) -> Counts:
        """A copy, with these numbers of now."""
        with self._lock:
            found = Counts()
            found.add(self._counts)
        found.gauges = dict(gauges)
        return found

    def leave(self, state: State, gauges: Gauges) -> None:
        """Leave the counts where other workers find them."""
        mine = self.counts(gauges)
        content = json.dumps([mine.answers, mine.times, mine.gauges])
        with state.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO worker_counts VALUES(?, ?)", (self._worker, content)
            )

    def of_all(self, state: State, gauges: Gauges) -> Counts:
        """The sum over all workers, this one as of now."""
        self.leave(state, gauges)
        with state.reading() as connection:
            rows = connection.execute("SELECT worker, content FROM worker_counts").fetchall()
        return _sum((row[0], row[1], self._worker) for row in rows)


def forget_workers(state: State) -> None:
    """Start counting anew, as the service starts."""
    with state.writing() as connection:
        connection.execute("DELETE FROM worker_counts")


def _sum(rows: Iterable[tuple[str, str, str]]) -> Counts:
    total = Counts()
    for worker, content, own in rows:
        answers, times, gauges = json.loads(content)
        found = {name: (what, value) for name, (what, value) in gauges.items()}
        total.add(Counts(answers, times, found), gone=is_gone(worker, own))
    return total
