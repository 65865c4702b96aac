"""Transport on a device: one query or many, each against faces that may stay there."""

from __future__ import annotations

from typing import Any

import numpy as np

from faceflow.arrays import Floats, Int64
from faceflow.errors import InputError
from faceflow.matching.transport.codes import Codes
from faceflow.matching.transport.device import fused
from faceflow.matching.transport.device.faces import DeviceFaces, Tensor, moved
from faceflow.matching.transport.device.pairs import Answers, Pairs, Settings
from faceflow.matching.transport.device.products import products
from faceflow.matching.transport.device.sinkhorn import sinkhorn
from faceflow.matching.transport.plan import Plan, Status
from faceflow.matching.transport.problem import MOST_COSINE, masses
from faceflow.weights import pytorch

# Values of the pairs that are iterated side by side: 4,096 pairs of 64 x 64 patches, which take
# some 0.8 GB of a GPU's memory, and 256 on the CPU.
_VALUES, _VALUES_ON_CPU = 1 << 24, 1 << 20


def solve(
    query_patches: Floats,
    gallery: Codes | DeviceFaces,
    *,
    u: Floats,
    v: Floats,
    candidates: Int64 | None = None,
    scales: Floats | None = None,
    settings: Settings | None = None,
    flow: bool = False,
    device: str = "cpu",
    kernel: bool = False,
) -> Plan:
    """Solve one query, or B queries at once, against N faces each.

    Args:
        query_patches: (R, C) or (B, R, C) float, unit rows, rounded already as the gallery's are.
        gallery: (M, S, C) patches or codes, moved to ``device`` now; or faces that are there.
        u: (N, R), (R,) or (B, N, R) query weights, not negative; scaled to sum 1.
        v: (N, S), (S,) or (B, N, S) gallery weights of each candidate, likewise.
        candidates: (N,) or (B, N) rows of ``gallery``, each 0..M-1; default all of them.
        scales: (M, S), for int8 codes; default the inverse of their length.
        settings: when to stop.
        flow: also return the flows.
        device: where to compute, unless the gallery is there already.
        kernel: let the fused kernel compute, where :func:`.fused.why_not` says nothing against
            it. It works in float32; pairs beyond that are solved as without it.

    Returns:
        A plan with one entry per candidate, or fields of shape (B, N) for B queries. No pair's
        numbers depend on the others.

    Raises:
        InputError: shapes disagree, a weight is negative, or a candidate is outside the gallery.
        MissingExtraError, DeviceError: PyTorch (or, for the kernel, Triton) is not installed or
            does not see the device.
    """
    how = settings or Settings()
    query = np.asarray(query_patches, np.float32)
    many = query.ndim == 3
    query = query if many else query[None]
    faces = gallery if isinstance(gallery, DeviceFaces) else DeviceFaces.of(gallery, device, scales)
    torch = pytorch.require(str(faces.device))
    _, s, c = faces.codes.shape
    if query.ndim != 3 or query.shape[2] != c or 0 in query.shape[1:] or s == 0:
        raise InputError(
            f"query patches {np.shape(query_patches)} do not go with gallery patches "
            f"{tuple(faces.codes.shape)}",
            why="(R, C) and (M, S, C) with one C are needed",
        )
    b, r, _ = query.shape
    rows = _rows(candidates, b, len(faces))
    n = rows.shape[1]
    mass = masses(u, v, (b, n, r, s))
    pairs = Pairs(
        moved(torch, query, faces.device),
        faces,
        np.repeat(np.arange(b), n),
        rows.reshape(-1),
        mass.u,
        mass.v,
    )
    found = Answers.invalid(b * n, (r, s) if flow else None)
    asked = np.flatnonzero(~mass.invalid)
    if kernel:
        answers = fused.solve(torch, pairs[asked], how, flow=flow)
        found.put(asked, answers)
        asked = asked[answers.status == fused.OUT_OF_RANGE]
    values = _VALUES_ON_CPU if faces.device.type == "cpu" else _VALUES
    step = max(1, values // (r * s))
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        found.put(part, _iterated(torch, pairs[part], how, flow=flow))
    return found.plan((b, n) if many else (n,))


def _iterated(torch: Any, pairs: Pairs, how: Settings, *, flow: bool) -> Answers:
    """Some pairs at once, by the twin of the oracle."""
    cosine = products(torch, pairs)
    kind = np.float32 if cosine.dtype == torch.float32 else np.float64
    u, v = (moved(torch, one.astype(kind), cosine.device) for one in (pairs.u, pairs.v))
    sound = (cosine.abs() <= MOST_COSINE).flatten(1).all(dim=1).cpu().numpy()  # not so for NaN
    mass = (pairs.u.max(axis=1) > 0) & (pairs.v.max(axis=1) > 0)
    found = Answers.invalid(len(pairs), tuple(cosine.shape[1:]) if flow else None)
    found.no_mass(np.flatnonzero(sound & ~mass))
    at = np.flatnonzero(sound & mass)
    if not len(at):
        return found
    rows = moved(torch, at, cosine.device)
    scaled = sinkhorn(
        torch,
        cosine[rows],
        u[rows],
        v[rows],
        epsilon=how.epsilon,
        tolerance=how.tolerance,
        max_iterations=how.max_iterations,
    )
    error = _wide(scaled.error)
    status = np.where(error < how.tolerance, Status.CONVERGED, Status.MAX_ITERATIONS)
    found.put(
        at,
        Answers(
            _wide(scaled.similarity),
            scaled.iterations.cpu().numpy(),
            error,
            status.astype(np.int8),
            _wide(scaled.flow) if flow else None,
        ),
    )
    return found


def _rows(candidates: Int64 | None, b: int, faces: int) -> Int64:
    """(B, N) rows of the gallery."""
    if candidates is None:
        return np.broadcast_to(np.arange(faces), (b, faces))
    rows = np.atleast_2d(np.asarray(candidates, np.int64))
    if rows.ndim != 2 or rows.shape[0] != b:
        raise InputError(f"candidates have shape {np.shape(candidates)}, not ({b}, N)")
    if rows.size and (rows.min() < 0 or rows.max() >= faces):
        raise InputError(
            "a candidate lies outside the gallery",
            why=f"rows go from 0 to {faces - 1}",
            todo="drop the padding of a short list first",
        )
    return rows


def _wide(values: Tensor) -> Any:
    return values.cpu().numpy().astype(np.float64)  # there: Apple's GPUs have no float64
