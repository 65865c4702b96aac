"""What is solved on a device, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceflow.arrays import Float64, Floats, Int8, Int64
from faceflow.matching.transport.device.faces import DeviceFaces, Tensor
from faceflow.matching.transport.plan import Plan, Status


@dataclass(frozen=True, slots=True)
class Settings:
    """When to stop, as in :class:`faceflow.matching.transport.Sinkhorn`."""

    epsilon: float = 0.05
    tolerance: float = 1e-3
    max_iterations: int = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P pairs of a query face and a gallery face.

    Attributes:
        query: (B, R, C) float32 tensor.
        faces: M gallery faces, on the same device.
        query_rows, face_rows: (P,) whose pairs they are.
        u, v: (P, R) and (P, S), each row's sum 1, or all zero.
    """

    query: Tensor
    faces: DeviceFaces
    query_rows: Int64
    face_rows: Int64
    u: Float64
    v: Float64

    def __len__(self) -> int:
        return len(self.face_rows)

    def __getitem__(self, at: Int64) -> Pairs:
        return Pairs(
            self.query,
            self.faces,
            self.query_rows[at],
            self.face_rows[at],
            self.u[at],
            self.v[at],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What came of P pairs; fields as in :class:`faceflow.matching.transport.Plan`."""

    similarity: Float64
    iterations: Int64
    error: Float64
    status: Int8
    flow: Floats | None

    @classmethod
    def invalid(cls, pairs: int, flow: tuple[int, int] | None) -> Answers:
        """Nothing but NaN yet; ``flow`` is (R, S), or None to keep none."""
        return cls(
            np.full(pairs, np.nan),
            np.zeros(pairs, np.int64),
            np.full(pairs, np.nan),
            np.full(pairs, Status.INVALID, np.int8),
            None if flow is None else np.full((pairs, *flow), np.nan),
        )

    def put(self, at: Int64, some: Answers) -> None:
        """Take over the answers of some pairs."""
        self.similarity[at] = some.similarity
        self.iterations[at] = some.iterations
        self.error[at] = some.error
        self.status[at] = some.status
        if self.flow is not None:
            assert some.flow is not None
            self.flow[at] = some.flow

    def no_mass(self, at: Int64) -> None:
        """Nothing can move in these pairs."""
        self.similarity[at] = self.error[at] = 0.0
        self.status[at] = Status.NO_MASS
        if self.flow is not None:
            self.flow[at] = 0.0

    def plan(self, shape: tuple[int, ...]) -> Plan:
        """The plan, with fields of that shape."""
        flow = self.flow
        return Plan(
            self.similarity.reshape(shape),
            self.iterations.reshape(shape),
            self.error.reshape(shape),
            self.status.reshape(shape),
            None if flow is None else flow.reshape(*shape, *flow.shape[1:]),
        )
