"""What the speed benchmarks share: the machine in one line, clocks, medians, synthetic faces."""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from faceflow.features import FaceFeatures


def machine() -> str:
    """Processor, cores, instruction sets, NumPy and the load of the last minute."""
    from faceflow import _kernel

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return (
        f"machine: {model}, {_kernel.physical_cores()} cores, {', '.join(_kernel.isa_levels())}, "
        f"NumPy {np.__version__}; {load()}"
    )


def load() -> str:
    """The load now, to be printed before and after: wall times mean little when it is high."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"


def summary(seconds: list[float] | np.ndarray) -> str:
    """Median (quartiles) in milliseconds."""
    low, mid, high = np.percentile(seconds, [25, 50, 75]) * 1e3
    return f"{mid:.2f} ({low:.2f}-{high:.2f})"


class Clock:
    """Wall and CPU seconds (of all threads of the process) under a name, every time."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.cpu: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name].append(time.perf_counter() - wall)
        self.cpu[name].append(time.process_time() - cpu)

    def table(self) -> str:
        head = f"  {'':22}{'CPU ms: median (quartiles)':>32}{'wall ms: median (quartiles)':>34}"
        rows = [
            f"  {name:22}{summary(self.cpu[name]):>32}{summary(self.wall[name]):>34}"
            for name in self.wall
        ]
        return "\n".join([head, *rows])


def synthetic(n: int, side: int, c: int, d: int, seed: int = 0) -> FaceFeatures:
    """N faces whose patches share what lies at a place and what a face is, plus noise."""
    rng = np.random.default_rng(seed)
    place = np.random.default_rng(side * 10_000 + c).standard_normal((c, side, side), np.float32)
    face = rng.standard_normal((n, c, 1, 1), np.float32)
    maps = place + np.float32(0.7) * face + rng.standard_normal((n, c, side, side), np.float32)
    return FaceFeatures.from_maps(rng.standard_normal((n, d), np.float32), maps)
