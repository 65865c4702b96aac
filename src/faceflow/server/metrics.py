"""Counts and times in the text format of Prometheus, without names of anybody or anything."""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from collections.abc import Mapping

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""


class Metrics:
    """What a process has answered since it started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str, int], int] = defaultdict(int)
        self._times: dict[str, list[float]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            method: of HTTP, one of the known ones.
            route: its template, e.g. ``/v1/galleries/{gallery}``; never the path itself.
            status: of HTTP.
            seconds: from the request's head to the answer's end.
        """
        with self._lock:
            self._answers[method, route, status] += 1
            # Cumulative only when written; then the sum.
            kept = self._times.setdefault(route, [0.0] * (len(BUCKETS) + 2))
            kept[bisect.bisect_left(BUCKETS, seconds)] += 1
            kept[-1] += seconds

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Everything, with these numbers of now: name -> (what it is, value)."""
        with self._lock:
            answers = sorted(self._answers.items())
            times = sorted((route, list(kept)) for route, kept in self._times.items())
        lines = [
            "# HELP faceflow_requests_total Requests answered.",
            "# TYPE faceflow_requests_total counter",
        ]
        lines += [
            f'faceflow_requests_total{{method="{method}",route="{route}",status="{status}"}} {n}'
            for (method, route, status), n in answers
        ]
        name = "faceflow_request_seconds"
        lines += [f"# HELP {name} Time to answer.", f"# TYPE {name} histogram"]
        for route, kept in times:
            total = 0.0
            for bound, count in zip((*BUCKETS, "+Inf"), kept, strict=False):
                total += count
                lines.append(f'{name}_bucket{{route="{route}",le="{bound}"}} {total:.0f}')
            lines.append(f'{name}_sum{{route="{route}"}} {kept[-1]:.6f}')
            lines.append(f'{name}_count{{route="{route}"}} {total:.0f}')
        for gauge, (what, value) in sorted(gauges.items()):
            kind = "counter" if gauge.endswith("_total") else "gauge"
            lines += [f"# HELP {gauge} {what}", f"# TYPE {gauge} {kind}", f"{gauge} {value:g}"]
        return "\n".join(lines) + "\n"
