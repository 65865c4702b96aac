"""Gallery patches on a device, in whatever format they are stored, kept there for many calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from faceflow.arrays import Floats
from faceflow.errors import InputError
from faceflow.matching.transport.codes import Codes, dtype_of
from faceflow.weights import pytorch

_BLOCK_FACES = 4096  # widened at a time

Tensor = Any
"""A tensor of PyTorch, which types cannot name where it is not installed."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceFaces:
    """Patches of M faces on a device; made by :meth:`of`.

    Attributes:
        codes: (M, S, C) tensor: float32, bfloat16, float16 or int8.
        scales: (M, S) tensor of the device's widest float type: what int8 codes are multiplied
            with to be unit; None for other formats.
    """

    codes: Tensor
    scales: Tensor | None = None

    @classmethod
    def of(cls, patches: Codes, device: str, scales: Floats | None = None) -> DeviceFaces:
        """Move patches to a device.

        Args:
            patches: (M, S, C) float, uint16 (bf16) or int8, as for
                :class:`faceflow.matching.transport.Sinkhorn`.
            device: "cpu", "cuda", "cuda:1" or "mps".
            scales: (M, S) for int8; default the inverse of the codes' lengths.

        Raises:
            InputError: another type or shape.
            MissingExtraError, DeviceError: there is no PyTorch, or it does not see the device.
        """
        torch, kind = pytorch.require(device), dtype_of(patches)
        if patches.ndim != 3:
            raise InputError(f"gallery patches have shape {patches.shape}, not (M, S, C)")
        if kind == "bf16":
            return cls(moved(torch, patches.view(np.int16), device).view(torch.bfloat16))
        if kind == "f32":
            return cls(moved(torch, patches.astype(np.float32, copy=False), device))
        codes = moved(torch, patches, device)
        if scales is None:
            return cls(codes, _inverse_lengths(torch, codes))
        narrow = wide(torch, device) is torch.float32
        given = np.asarray(scales, np.float32 if narrow else np.float64)
        return cls(codes, moved(torch, given, device))

    def __len__(self) -> int:
        return int(self.codes.shape[0])

    @property
    def device(self) -> Any:
        """The device of PyTorch they are on."""
        return self.codes.device

    def decoded(self, rows: Tensor) -> Tensor:
        """(n, S, C) float32 patches of some faces: what :func:`.codes.decode` makes of them."""
        codes = self.codes[rows]
        if self.scales is None:
            return codes.float()
        return (codes.to(self.scales.dtype) * self.scales[rows][..., None]).float()


def moved(torch: Any, array: np.ndarray[Any, Any], device: Any) -> Tensor:
    """The array as a tensor on a device."""
    # PyTorch warns of arrays that may not be written.
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)


def wide(torch: Any, device: Any) -> Any:
    """The widest float type of a device: Apple's GPUs have no float64."""
    return torch.float32 if str(device).startswith("mps") else torch.float64


def _inverse_lengths(torch: Any, codes: Tensor) -> Tensor:
    kind = wide(torch, codes.device)
    square = torch.empty(codes.shape[:2], dtype=kind, device=codes.device)
    for start in range(0, len(codes), _BLOCK_FACES):
        some = codes[start : start + _BLOCK_FACES].to(kind)
        square[start : start + _BLOCK_FACES] = (some * some).sum(dim=-1)  # whole numbers: exact
    return torch.where(square > 0, 1 / square.sqrt(), torch.zeros_like(square))
