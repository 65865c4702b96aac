"""Sinkhorn's algorithm in PyTorch: :mod:`..numpy_sinkhorn` step by step, on any device.

In float64 where the device has it, else in float32. Every pair stops by itself. Sums are taken by
halving, with element-wise additions alone: no library may choose another order for another number
of pairs, so that a pair's numbers do not depend on its batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from faceflow.matching.transport.device.faces import Tensor
from faceflow.matching.transport.numpy_sinkhorn import EXP_RANGE

EXP_RANGE_FLOAT32 = 40.0
"""As :data:`..numpy_sinkhorn.EXP_RANGE`: exp of it and its square are far from float32's limits."""


class Scaled(NamedTuple):
    """Plans of P pairs, on the device.

    Attributes:
        similarity, error: (P,), as in :class:`faceflow.matching.transport.Plan`.
        iterations: (P,) int64.
        flow: (P, R, S).
    """

    similarity: Tensor
    error: Tensor
    iterations: Tensor
    flow: Tensor


def sinkhorn(
    torch: Any,
    cosine: Tensor,
    u: Tensor,
    v: Tensor,
    *,
    epsilon: float,
    tolerance: float,
    max_iterations: int,
) -> Scaled:
    """Solve P pairs with mass on both sides and finite numbers.

    Args:
        torch: the module.
        cosine: (P, R, S) similarities, float64 or float32.
        u, v: (P, R) and (P, S) weights of the same type, each row's sum 1.
        epsilon, tolerance, max_iterations: see :class:`faceflow.matching.transport.Sinkhorn`.
    """
    flat = cosine.flatten(1)
    spread = (flat.amax(dim=1) - flat.amin(dim=1)) / epsilon
    narrow = spread <= (EXP_RANGE if cosine.dtype == torch.float64 else EXP_RANGE_FLOAT32)
    flow = torch.empty_like(cosine)
    iterations = torch.zeros(len(cosine), dtype=torch.int64, device=cosine.device)
    error = torch.zeros_like(spread)
    ways: tuple[tuple[Tensor, type[_Plain] | type[_Logs]], ...]
    ways = (narrow, _Plain), (~narrow, _Logs)
    for rows, way in ways:
        at = rows.nonzero()[:, 0]
        if not len(at):
            continue
        state = way(torch, cosine[at], u[at], v[at], epsilon)
        for iteration in range(1, max_iterations + 1):
            off = state.iterate()
            done = (off < tolerance) | (iteration == max_iterations)
            if not bool(done.any()):
                continue
            flow[at[done]] = state.flow(done)
            iterations[at[done]] = iteration
            error[at[done]] = off[done]
            at = at[~done]
            if not len(at):
                break
            state.keep(~done)
    # Each query patch's share first, then their sum, as the oracle does.
    return Scaled(total(total(flow * cosine)), error, iterations, flow)


class _Plain:
    """The factors r and c themselves."""

    def __init__(self, torch: Any, cosine: Tensor, u: Tensor, v: Tensor, epsilon: float) -> None:
        top = cosine.flatten(1).amax(dim=1)[:, None, None]
        self.k, self.u, self.v = torch.exp((cosine - top) / epsilon), u, v
        self.row_mass = total(self.k)
        self.r, self.c = u, v

    def iterate(self) -> Tensor:
        self.r = self.u / self.row_mass
        self.c = self.v / total((self.r[:, :, None] * self.k).transpose(1, 2))
        self.row_mass = total(self.k * self.c[:, None, :])
        return total((self.r * self.row_mass - self.u).abs())

    def flow(self, rows: Tensor) -> Tensor:
        return self.r[rows][:, :, None] * self.k[rows] * self.c[rows][:, None, :]

    def keep(self, rows: Tensor) -> None:
        self.k, self.u, self.v = self.k[rows], self.u[rows], self.v[rows]
        self.row_mass = self.row_mass[rows]


class _Logs:
    """Their logarithms, where exp would leave the range of numbers."""

    def __init__(self, torch: Any, cosine: Tensor, u: Tensor, v: Tensor, epsilon: float) -> None:
        self.torch = torch
        self.log_k, self.u = cosine / epsilon, u
        self.log_u, self.log_v = u.log(), v.log()
        self.log_r, self.log_c = torch.zeros_like(u), torch.zeros_like(v)

    def iterate(self) -> Tensor:
        self.log_r = self.log_u - self._sum(self.log_k + self.log_c[:, None, :])
        turned = (self.log_k + self.log_r[:, :, None]).transpose(1, 2)
        self.log_c = self.log_v - self._sum(turned)
        return total((total(self._flow()) - self.u).abs())

    def flow(self, rows: Tensor) -> Tensor:
        return self._flow()[rows]

    def keep(self, rows: Tensor) -> None:
        self.log_k, self.u = self.log_k[rows], self.u[rows]
        self.log_u, self.log_v, self.log_c = self.log_u[rows], self.log_v[rows], self.log_c[rows]

    def _flow(self) -> Tensor:
        return (self.log_r[:, :, None] + self.log_k + self.log_c[:, None, :]).exp()

    def _sum(self, values: Tensor) -> Tensor:
        """Logarithm of the sum of exponentials over the last axis."""
        # Some entry is finite on every line: at least one weight of the other side is positive.
        top = values.amax(dim=-1, keepdim=True)
        return total((values - top).exp()).log() + top[..., 0]


def total(values: Tensor) -> Tensor:
    """Sum over the last axis by halving it."""
    width = values.shape[-1]
    if width == 1:
        return values[..., 0]
    half = (width + 1) // 2
    added = values[..., :half].clone()
    added[..., : width - half] += values[..., half:]
    while half > 1:
        width, half = half, (half + 1) // 2
        added[..., : width - half] += added[..., half:width]
    return added[..., 0]
