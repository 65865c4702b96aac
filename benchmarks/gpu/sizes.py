"""How much is computed, and what the parts share: the device, the clock, made-up faces."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceflow.features import FaceFeatures


@dataclass(frozen=True)
class Sizes:
    """Of every part; the defaults are those of LFW against itself, as the paper has it."""

    faces: int = 13_233
    queries: int = 13_214
    k: int = 100
    side: int = 8
    channels: int = 512
    embedding: int = 512
    block: int = 256  # queries a launch
    distinct: int = 512  # faces whose patches are drawn; the others repeat them
    alike: int = 40  # faces compared with the oracle, for each of 4 queries
    galleries: tuple[int, ...] = (13_233, 1_000_000)
    batches: tuple[int, ...] = (1, 16, 64, 256)
    peer_queries: int = 32
    rounds: int = 5


SMALL = Sizes(
    faces=60,
    queries=6,
    k=10,
    side=4,
    channels=32,
    embedding=64,
    block=4,
    distinct=16,
    alike=6,
    galleries=(500, 2000),
    batches=(1, 2),
    peer_queries=2,
    rounds=2,
)


@dataclass(frozen=True)
class Here:
    """Where it is computed.

    Attributes:
        torch: the module.
        device: its name.
        fused: why the fused kernel cannot be used; None where it can.
    """

    torch: Any
    device: str
    fused: str | None

    def seconds(self, work: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
        """Quartiles of the wall time of ``work``, after one run that is not counted."""
        work()
        taken = []
        for _ in range(rounds):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - start)
        low, middle, high = np.percentile(taken, [25, 50, 75])
        return float(low), float(middle), float(high)

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.startswith("cuda"):
            self.torch.cuda.synchronize(self.device)
        elif self.device == "mps":
            self.torch.mps.synchronize()

    def tensor(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def shown(quartiles: tuple[float, float, float], unit: str = "ms") -> str:
    scale = {"ms": 1e3, "s": 1.0}[unit]
    low, middle, high = (scale * value for value in quartiles)
    return f"{middle:.3g} {unit} ({low:.3g}-{high:.3g})"


def made_up(n: int, sizes: Sizes, seed: int = 0) -> FaceFeatures:
    """N faces whose patches share what lies at a place and what a face is, plus noise."""
    rng = np.random.default_rng(seed)
    c, side = sizes.channels, sizes.side
    place = np.random.default_rng(1000).standard_normal((c, side, side), np.float32)
    face = rng.standard_normal((n, c, 1, 1), np.float32)
    maps = place + np.float32(0.7) * face + rng.standard_normal((n, c, side, side), np.float32)
    return FaceFeatures.from_maps(rng.standard_normal((n, sizes.embedding), np.float32), maps)
