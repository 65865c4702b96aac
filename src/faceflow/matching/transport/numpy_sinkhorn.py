"""Sinkhorn's algorithm in NumPy, float64: the oracle that every faster kernel is tested against.

For one pair with cosine S, weights u, v and regularisation epsilon (Cuturi 2013, alg. 1; the
cost is 1 - S, whose constant cancels):

    K = exp(S / epsilon)
    repeat   r = u / (K c);   c = v / (K' r)   until   sum |r * (K c) - u| < tolerance
    flow = diag(r) K diag(c)

Each pair stops by itself, so its answer does not depend on the others in the batch.
"""

from __future__ import annotations

import numpy as np

from faceflow.arrays import Float64
from faceflow.matching.transport.plan import Plan, Status
from faceflow.matching.transport.problem import Problem

# exp(-EXP_RANGE) and its square stay far from float64's underflow (exp(-745)), so the plain
# iteration is safe below this range of S / epsilon; beyond it, potentials are kept as logs.
EXP_RANGE = 300.0


def sinkhorn(
    problem: Problem, *, epsilon: float, tolerance: float, max_iterations: int, flow: bool
) -> Plan:
    """Solve all pairs of a problem; see :class:`~faceflow.matching.transport.Sinkhorn`."""
    n, r, s = problem.cosine.shape
    similarity = np.zeros(n)
    iterations = np.zeros(n, dtype=np.int64)
    error = np.zeros(n)
    status = np.full(n, Status.NO_MASS, dtype=np.int8)
    flows = np.zeros((n, r, s)) if flow else None
    for values, state in ((similarity, Status.INVALID), (error, Status.INVALID)):
        values[problem.invalid] = np.nan
        status[problem.invalid] = state
    if flows is not None:
        flows[problem.invalid] = np.nan

    solvable = np.flatnonzero(~problem.invalid & ~problem.no_mass)
    cosine = problem.cosine[solvable]
    spread = np.ptp(cosine.reshape(len(cosine), r * s), axis=1) if len(cosine) else np.zeros(0)
    narrow = spread / epsilon <= EXP_RANGE
    for rows, scale in ((solvable[narrow], _scale), (solvable[~narrow], _scale_logs)):
        if not len(rows):
            continue
        plans, spent, off = scale(
            problem.cosine[rows],
            problem.u[rows],
            problem.v[rows],
            epsilon,
            tolerance,
            max_iterations,
        )
        # Contributions per query patch first, then their sum: the explanation shows exactly
        # these contributions, so that they add up to the similarity to the last bit.
        similarity[rows] = (plans * problem.cosine[rows]).sum(axis=2).sum(axis=1)
        iterations[rows] = spent
        error[rows] = off
        status[rows] = np.where(off < tolerance, Status.CONVERGED, Status.MAX_ITERATIONS)
        if flows is not None:
            flows[rows] = plans
    return Plan(similarity, iterations, error, status, flows)


def _scale(
    cosine: Float64, u: Float64, v: Float64, epsilon: float, tolerance: float, max_iterations: int
) -> tuple[Float64, Float64, Float64]:
    """Scale the rows and columns of K; returns flows (N, R, S), iterations and errors (N,)."""
    n = len(cosine)
    kernel = np.exp((cosine - cosine.max(axis=(1, 2), keepdims=True)) / epsilon)
    flows = np.empty_like(kernel)
    iterations = np.zeros(n)
    errors = np.zeros(n)

    active = np.arange(n)
    k, row_mass = kernel, kernel.sum(axis=2)
    for iteration in range(1, max_iterations + 1):
        r = u / row_mass
        c = v / np.matmul(r[:, None, :], k)[:, 0, :]
        row_mass = np.matmul(k, c[:, :, None])[:, :, 0]
        error = np.abs(r * row_mass - u).sum(axis=1)
        done = (error < tolerance) | (iteration == max_iterations)
        if done.any():
            at = active[done]
            flows[at] = r[done][:, :, None] * k[done] * c[done][:, None, :]
            iterations[at] = iteration
            errors[at] = error[done]
            active = active[~done]
            if not len(active):
                break
            k, u, v, row_mass = k[~done], u[~done], v[~done], row_mass[~done]
    return flows, iterations, errors


def _scale_logs(
    cosine: Float64, u: Float64, v: Float64, epsilon: float, tolerance: float, max_iterations: int
) -> tuple[Float64, Float64, Float64]:
    """The same iteration on the logarithms of r and c: slower, but never over- or underflows."""
    n = len(cosine)
    flows = np.empty_like(cosine)
    iterations = np.zeros(n)
    errors = np.zeros(n)
    for pair in range(n):
        log_k = cosine[pair] / epsilon
        with np.errstate(divide="ignore"):
            log_u, log_v = np.log(u[pair]), np.log(v[pair])
        log_c = np.zeros_like(log_v)
        iteration, error = 0, np.inf
        while error >= tolerance and iteration < max_iterations:
            iteration += 1
            log_r = log_u - _log_sum_exp(log_k + log_c, axis=1)
            log_c = log_v - _log_sum_exp(log_k + log_r[:, None], axis=0)
            flow = np.exp(log_r[:, None] + log_k + log_c)
            error = float(np.abs(flow.sum(axis=1) - u[pair]).sum())
        flows[pair], iterations[pair], errors[pair] = flow, iteration, error
    return flows, iterations, errors


def _log_sum_exp(values: Float64, axis: int) -> Float64:
    # Some entry is finite on every line: at least one weight of the other side is positive.
    top = values.max(axis=axis, keepdims=True)
    total = np.log(np.exp(values - top).sum(axis=axis))
    return np.asarray(total + np.squeeze(top, axis=axis), dtype=np.float64)
