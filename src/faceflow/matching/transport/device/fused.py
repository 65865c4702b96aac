"""One kernel for a whole pair, in Triton: products, exp, iterations to the pair's own stop, score.

The kernel matrix of a pair stays in registers from the first product to the last sum, so that a
pair reads its patches once and writes a few numbers. float32 throughout, products in the format of
the gallery's patches: int8 codes are whole numbers in float16 too, and their sums are exact in
float32 up to 1,040 channels. Each pair is a program of its own, so nothing depends on the batch.
"""

from __future__ import annotations

import importlib.util
import os
from contextlib import nullcontext
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from faceflow.errors import DeviceError, InputError, MissingExtraError
from faceflow.matching.transport.device.faces import DeviceFaces, Tensor, moved
from faceflow.matching.transport.device.pairs import Answers, Pairs, Settings
from faceflow.matching.transport.device.sinkhorn import EXP_RANGE_FLOAT32
from faceflow.matching.transport.plan import Status
from faceflow.matching.transport.problem import MOST_COSINE

OUT_OF_RANGE = 4
"""Status beside those of :class:`Status`: float32 cannot hold the pair; somebody else solves it."""
MOST_PATCHES = 128
LEAST_TOLERANCE = 1e-5
"""Below this the error of float32 sums would never let a pair stop."""

_LEAST_BLOCK = 16  # of a product on tensor cores
_CHANNELS = 64  # of patches that are read at a time
_INTERPRET = "TRITON_INTERPRET"


def why_not(device: str, patches: int, gallery_patches: int, tolerance: float) -> str | None:
    """Why the kernel cannot solve such pairs on a device; None where it can."""
    if max(patches, gallery_patches) > MOST_PATCHES:
        return f"it takes up to {MOST_PATCHES} patches"
    if tolerance < LEAST_TOLERANCE:
        return f"it works in float32, to a tolerance of {LEAST_TOLERANCE:g}"
    if not (device.startswith("cuda") or _interpreted()):
        return f"it runs on CUDA devices, not on {device}"
    if not _installed():
        return "Triton is not installed"
    return None


def require(device: str, patches: int, gallery_patches: int, tolerance: float) -> None:
    """Raise where :func:`why_not` gives a reason."""
    why = why_not(device, patches, gallery_patches, tolerance)
    if why is None:
        return
    what, todo = "The fused kernel cannot be used", 'choose the backend "torch"'
    if "installed" in why:
        raise MissingExtraError(what, why=why, todo=f"run `pip install triton`, or {todo}")
    kind = DeviceError if "CUDA" in why else InputError
    raise kind(what, why=why, todo=todo)


class Weighted(NamedTuple):
    """Weights of P pairs on the device: u (P, R) and v (P, S) float32, each row's sum 1."""

    u: Tensor
    v: Tensor


class Centres(NamedTuple):
    """Mean patches, (B, C) and (M, C) float32, of which the kernel makes the weights "apc"."""

    query: Tensor
    faces: Tensor


class Launched(NamedTuple):
    """What the kernel wrote, on the device; see :class:`Answers`, and :data:`OUT_OF_RANGE`."""

    similarity: Tensor
    iterations: Tensor
    error: Tensor
    status: Tensor
    flow: Tensor | None


def solve(torch: Any, pairs: Pairs, how: Settings, *, flow: bool) -> Answers:
    """Solve P pairs; those with status :data:`OUT_OF_RANGE` are left to others.

    Raises:
        InputError, DeviceError, MissingExtraError: see :func:`require`.
    """
    device = pairs.faces.device
    r, s = pairs.query.shape[1], pairs.faces.codes.shape[1]
    require(str(device), r, s, how.tolerance)
    found = Answers.invalid(len(pairs), (r, s) if flow else None)
    if not len(pairs):
        return found
    u, v = (moved(torch, one.astype(np.float32), device) for one in (pairs.u, pairs.v))
    written = launch(
        torch,
        pairs.query,
        pairs.faces,
        moved(torch, pairs.query_rows, device),
        moved(torch, pairs.face_rows, device),
        Weighted(u, v),
        how,
        flow=flow,
    )
    states = written.status.cpu().numpy().astype(np.int8)
    ours = np.flatnonzero((states == Status.CONVERGED) | (states == Status.MAX_ITERATIONS))
    found.status[:] = states
    found.no_mass(np.flatnonzero(states == Status.NO_MASS))
    found.similarity[ours] = written.similarity.cpu().numpy()[ours]
    found.error[ours] = written.error.cpu().numpy()[ours]
    found.iterations[ours] = written.iterations.cpu().numpy()[ours]
    if found.flow is not None and written.flow is not None:
        found.flow[ours] = written.flow.cpu().numpy()[ours]
    return found


def launch(
    torch: Any,
    query: Tensor,
    faces: DeviceFaces,
    query_rows: Tensor,
    face_rows: Tensor,
    weights: Weighted | Centres,
    how: Settings,
    *,
    flow: bool = False,
) -> Launched:
    """Start the kernel on tensors; nothing leaves the device, and nothing waits for it.

    Args:
        torch: the module.
        query: (B, R, C) float32.
        faces: M gallery faces on the same device.
        query_rows, face_rows: (P,) int64, whose pairs to solve.
        weights: given, or centres to make them of.
        how: when to stop.
        flow: also write the flows (P, R, S).
    """
    from faceflow.matching.transport.device import triton_kernel

    codes, scales, device = faces.codes, faces.scales, faces.device
    count, r, s, c = len(face_rows), query.shape[1], codes.shape[1], codes.shape[2]
    coded, query_scales = _as_codes(torch, query, codes)
    similarity = torch.empty(count, dtype=torch.float32, device=device)
    iterations = torch.empty(count, dtype=torch.int32, device=device)
    error, status = torch.empty_like(similarity), torch.empty_like(iterations)
    flows = torch.empty((count, r, s) if flow else 1, dtype=torch.float32, device=device)
    block_r, block_s = (max(_LEAST_BLOCK, 1 << (size - 1).bit_length()) for size in (r, s))
    # Triton launches on the current device, whichever the tensors are on.
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        triton_kernel.solve_pair[(count,)](
            coded,
            codes.contiguous(),
            coded if scales is None else query_scales,
            codes if scales is None else scales.float(),
            query_rows,
            face_rows,
            *(one.contiguous() for one in weights),
            similarity,
            iterations,
            error,
            status,
            flows,
            1 / how.epsilon,
            how.tolerance,
            how.max_iterations,
            EXP_RANGE_FLOAT32 * (1 + 1e-5),
            MOST_COSINE,
            R=r,
            S=s,
            C=c,
            BLOCK_R=block_r,
            BLOCK_S=block_s,
            BLOCK_C=min(_CHANNELS, max(_LEAST_BLOCK, 1 << (c - 1).bit_length())),
            SCALED=scales is not None,
            APC=isinstance(weights, Centres),
            FLOW=flow,
            num_warps=4 if block_r * block_s <= 64 * 64 else 8,
            enable_fp_fusion=True,
        )
    return Launched(similarity, iterations, error, status, flows if flow else None)


def _as_codes(torch: Any, query: Tensor, codes: Tensor) -> tuple[Tensor, Tensor | None]:
    """The query in the gallery's format: (B, R, C), and (B, R) scales of int8 codes."""
    if codes.dtype != torch.int8:
        return query.to(codes.dtype), None
    # As transport.codes.encode: each patch scaled by itself, so that its largest value is 127.
    top = query.abs().amax(dim=-1, keepdim=True)
    step = torch.where(top >= 1e-30, 127 / top, torch.zeros_like(top))
    rounded = (query * step).round()
    length = rounded.double().square().sum(dim=-1).sqrt().clamp(min=1)
    # A NaN scale marks the pair as invalid: codes cannot hold NaN.
    sound = query.isfinite().all(dim=-1)
    scales = torch.where(sound, 1 / length, torch.nan).float()
    return rounded.nan_to_num(0).to(torch.int8), scales


@cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def _interpreted() -> bool:
    return os.environ.get(_INTERPRET, "") not in ("", "0")
