"""The solver users choose: entropic optimal transport with a per-pair stopping rule."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import numpy as np

from faceflow.arrays import Floats
from faceflow.errors import InputError
from faceflow.matching.transport import native
from faceflow.matching.transport.codes import (
    DTYPES,
    Codes,
    DType,
    decode,
    dtype_of,
    encode,
    rounded,
)
from faceflow.matching.transport.numpy_sinkhorn import sinkhorn
from faceflow.matching.transport.plan import Plan
from faceflow.matching.transport.problem import patch_cosine, pose
from faceflow.system.threads import check_threads
from faceflow.weights import devices, pytorch
from faceflow.weights.devices import Device

Backend = Literal["auto", "native", "numpy", "torch", "triton"]
Used = Literal["native", "numpy", "torch", "triton"]
"""A backend that solves; "triton" is the fused kernel behind "torch"."""
_ON_DEVICES = ("torch", "triton")


class Solver(Protocol):
    """Anything that transports a query's patches onto the patches of N gallery faces."""

    def __call__(
        self,
        query_patches: Floats,
        gallery_patches: Floats,
        u: Floats,
        v: Floats,
        *,
        flow: bool = False,
    ) -> Plan:
        """Solve N pairs; see :class:`Sinkhorn` for shapes."""
        ...


@dataclass(frozen=True, slots=True)
class Sinkhorn:
    """Sinkhorn solver, paper section 3 and ``utils/emd.py`` of its code (epsilon 0.05).

    The published code stops when the mean change over the whole candidate batch is small,
    so a score there depends on its neighbours. Here each pair stops on its own marginal
    error; :mod:`faceflow.matching.transport.reference` keeps the published rule for parity.

    Attributes:
        epsilon: regularisation; smaller is closer to the exact EMD and takes more iterations.
        tolerance: stop when the L1 error of the row marginals is below this.
        max_iterations: cap; reaching it is reported per pair, not raised.
        backend: "native" (compiled), "numpy", "torch" (PyTorch, on ``device``), "triton" (the
            fused kernel, CUDA alone), or "auto": on the CPU native where it is built and takes the
            sizes; on another device torch where PyTorch sees it; see :meth:`backend_for`. "torch"
            takes the fused kernel where there is one.
        device: where torch computes: "cpu", "cuda", "cuda:1" or "mps". The others are the CPU's.
        dtype: the format patches are rounded to, on both sides, before they are compared:
            "int8", "bf16" or "f32". int8 is the fastest and how a gallery keeps patches;
            similarities then differ from float32's in the fourth digit, see docs/performance.md.
            Gallery patches already stored as uint16 or int8 codes keep theirs.
        threads: of the native backend; default the physical cores. No result depends on it.

    Example:
        >>> import numpy as np
        >>> eye = np.eye(4, dtype=np.float32)
        >>> w = np.full(4, 0.25)
        >>> plan = Sinkhorn()(eye, eye[None], w, w)
        >>> round(float(plan.similarity[0]), 6)
        1.0
    """

    epsilon: float = 0.05
    tolerance: float = 1e-3
    max_iterations: int = 1000
    backend: Backend = "auto"
    dtype: DType = "int8"
    threads: int | None = None
    device: Device = "cpu"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon >= 1e-3):
            raise InputError(
                f"epsilon is {self.epsilon}",
                why="it must be a finite number of at least 0.001",
                todo="use the exact solver for an unregularised distance",
            )
        if not (math.isfinite(self.tolerance) and self.tolerance > 0):
            raise InputError(f"tolerance is {self.tolerance}", why="it must be above 0")
        if self.max_iterations < 1:
            raise InputError(f"max_iterations is {self.max_iterations}", why="it must be 1 or more")
        if self.backend not in get_args(Backend):
            raise InputError(
                f"there is no transport backend {self.backend!r}",
                todo=f"choose one of {', '.join(get_args(Backend))}",
            )
        if not devices.named(self.device):
            raise InputError(
                f"device is {self.device!r}", todo="choose cpu, cuda, cuda:NUMBER or mps"
            )
        if self.dtype not in DTYPES:
            raise InputError(
                f"there is no dtype {self.dtype!r}", todo=f"choose one of {', '.join(DTYPES)}"
            )
        check_threads(self.threads)

    @property
    def on_cpu(self) -> Sinkhorn:
        """The solver whose numbers people are shown: this one, or what stands for a device's."""
        if self.backend in _ON_DEVICES or self.device != "cpu":
            backend: Backend = "auto" if self.backend in _ON_DEVICES else self.backend
            return replace(self, backend=backend, device="cpu")
        return self

    def backend_for(self, patches: int, gallery_patches: int, channels: int) -> Used:
        """Which backend solves pairs of R and S patches with C channels.

        "native" and "triton" stay so even where they are not there or do not take the sizes:
        solving then raises. (The fused kernel leaves pairs that float32 cannot hold to "torch".)
        """
        backend = self.backend
        if backend == "auto" and pytorch.seen(self.device):
            backend = "torch"
        if backend == "torch":
            from faceflow.matching.transport.device import fused

            on_cuda = self.device.startswith("cuda")  # elsewhere it is for tests
            why = fused.why_not(self.device, patches, gallery_patches, self.tolerance)
            return "triton" if on_cuda and why is None else "torch"
        if backend != "auto":
            return backend
        ready = native.available() and native.fits(patches, gallery_patches, channels)
        return "native" if ready else "numpy"

    def __call__(
        self,
        query_patches: Floats,
        gallery_patches: Codes,
        u: Floats,
        v: Floats,
        *,
        flow: bool = False,
    ) -> Plan:
        """Transport the query's patches onto each gallery face's patches.

        Args:
            query_patches: (R, C) float, unit rows.
            gallery_patches: (N, S, C) float, unit rows, or their codes as uint16 (bf16) or
                int8, see :func:`faceflow.matching.transport.encode`; N may be 0.
            u: (N, R) or (R,) query weights, not negative; scaled to sum 1 here.
            v: (N, S) or (S,) gallery weights, likewise.
            flow: also return the flows, (N, R, S).

        Raises:
            InputError: shapes disagree or a weight is negative. NaN or infinity in a pair
                does not raise: that pair's status is INVALID.
        """
        if gallery_patches.ndim == 3 and query_patches.ndim == 2:
            sizes = (len(query_patches), *gallery_patches.shape[1:])
            backend = self.backend_for(*sizes)
            if backend == "native":
                return self._native(query_patches, gallery_patches, u=u, v=v, flow=flow)
            if backend != "numpy":
                return self._on_device(
                    query_patches, gallery_patches, u, v, flow=flow, kernel=backend == "triton"
                )
        if dtype_of(gallery_patches) == "f32":
            dtype, patches = self.dtype, rounded(gallery_patches, self.dtype)
        else:
            dtype, patches = dtype_of(gallery_patches), decode(gallery_patches)
        query = rounded(query_patches, dtype)
        return self.solve(patch_cosine(query, patches), u, v, flow=flow)

    def weighted(
        self,
        query_patches: Floats,
        gallery_patches: Codes,
        weighting: str,
        *,
        pooled_query: Floats | None = None,
        pooled_gallery: Floats | None = None,
        flow: bool = False,
    ) -> Plan:
        """Native backend only: the same with the weights computed inside the kernel.

        Args:
            query_patches: (R, C) float, unit rows.
            gallery_patches: (N, S, C) as in a call.
            weighting: a name from :data:`faceflow.matching.transport.native.WEIGHTINGS`; for
                int8 and bf16 the weights come from the rounded patches.
            pooled_query: (C,), for apc.
            pooled_gallery: (N, C), for apc.
            flow: also return the flows.
        """
        return self._native(
            query_patches,
            gallery_patches,
            weighting=weighting,
            pooled_query=pooled_query,
            pooled_gallery=pooled_gallery,
            flow=flow,
        )

    def _native(
        self,
        query_patches: Floats,
        gallery_patches: Codes,
        *,
        u: Floats | None = None,
        v: Floats | None = None,
        weighting: str = "given",
        pooled_query: Floats | None = None,
        pooled_gallery: Floats | None = None,
        flow: bool,
    ) -> Plan:
        patches, scales = self._stored(gallery_patches)
        return native.solve(
            query_patches,
            patches,
            u=u,
            v=v,
            weighting=weighting,
            pooled_query=pooled_query,
            pooled_gallery=pooled_gallery,
            scales=scales,
            epsilon=self.epsilon,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            flow=flow,
            threads=self.threads,
        )

    def _on_device(
        self,
        query_patches: Floats,
        gallery_patches: Codes,
        u: Floats,
        v: Floats,
        *,
        flow: bool,
        kernel: bool,
    ) -> Plan:
        from faceflow.matching.transport.device.pairs import Settings
        from faceflow.matching.transport.device.solve import solve

        patches, scales = self._stored(gallery_patches)
        return solve(
            rounded(query_patches, dtype_of(patches)),
            patches,
            u=u,
            v=v,
            scales=scales,
            settings=Settings(self.epsilon, self.tolerance, self.max_iterations),
            flow=flow,
            device=self.device,
            kernel=kernel,
        )

    def _stored(self, gallery_patches: Codes) -> tuple[Codes, Floats | None]:
        """Gallery patches as the kernel reads them, and int8 scales where they are needed."""
        if dtype_of(gallery_patches) != "f32":
            return gallery_patches, None
        scales = None
        patches = np.asarray(gallery_patches, dtype=np.float32)
        if self.dtype == "int8" and not np.isfinite(patches).all():
            # Codes cannot hold NaN; a NaN scale marks the pair as invalid all the same.
            finite = np.asarray(np.isfinite(patches).all(axis=-1), dtype=np.bool_)
            patches = np.where(finite[..., None], patches, np.float32(0))
            codes = encode(patches, "int8").astype(np.float64)
            length = np.maximum(np.sqrt((codes * codes).sum(axis=-1)), 1.0)
            scales = np.where(finite, 1 / length, np.nan)
        if self.dtype != "f32" or patches.strides[-1] != patches.itemsize:
            patches = encode(patches, self.dtype)
        return patches, scales

    def solve(self, cosine: Floats, u: Floats, v: Floats, *, flow: bool = False) -> Plan:
        """The same from given similarities (N, R, S), always in NumPy; the cost is 1 - cosine."""
        return sinkhorn(
            pose(cosine, u, v),
            epsilon=self.epsilon,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            flow=flow,
        )
