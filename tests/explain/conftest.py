"""Explanations made from flows we choose, and crops whose cells can be told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from faceflow.arrays import Float64, Floats, UInt8
from faceflow.explain import Explanation, explain_pair
from faceflow.features import FaceFeatures, Grid
from faceflow.matching.options import MatchOptions
from faceflow.matching.transport import Plan, Sinkhorn, Status


class Chosen:
    """A solver that returns the flow it was given."""

    def __init__(self, flow: Float64, status: Status = Status.CONVERGED) -> None:
        self.flow, self.status = flow, status

    def __call__(
        self,
        query_patches: Floats,
        gallery_patches: Floats,
        u: Floats,
        v: Floats,
        *,
        flow: bool = False,
    ) -> Plan:
        one = np.zeros(1)
        status = np.array([self.status], dtype=np.int8)
        return Plan(one, one.astype(np.int64), one, status, self.flow[None])


@pytest.fixture
def explained(random_features: Callable[..., FaceFeatures]) -> Callable[..., Explanation]:
    """An explanation on a grid, of random faces or of a flow we choose."""

    def make(
        grid: Grid = (4, 4),
        *,
        flow: Float64 | None = None,
        weighting: str = "apc",
        alpha: float = 0.3,
        status: Status = Status.CONVERGED,
        seed: int = 0,
    ) -> Explanation:
        faces = random_features(2, grid=grid, channels=16, size=32, seed=seed)
        solver = Sinkhorn() if flow is None else Chosen(flow, status)
        return explain_pair(faces[0], faces[1], MatchOptions(alpha, weighting, solver=solver))

    return make


@pytest.fixture
def coloured() -> Callable[..., UInt8]:
    """A crop whose cell r has one flat colour of its own: (40 + r, 200 - r, 3 r)."""

    def make(grid: Grid, side: int = 8) -> UInt8:
        r = np.arange(grid[0] * grid[1]).reshape(grid)
        colours = np.stack([40 + r, 200 - r, 3 * r], axis=-1).astype(np.uint8)
        return colours.repeat(side, axis=0).repeat(side, axis=1)

    return make
