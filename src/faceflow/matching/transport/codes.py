"""Smaller number formats for gallery patches: bfloat16 and int8."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faceflow.arrays import Float32, Floats
from faceflow.errors import InputError

DType = Literal["f32", "bf16", "int8"]
DTYPES: tuple[DType, ...] = ("f32", "bf16", "int8")
Codes = NDArray[Any]
Buffer = bytes | bytearray | memoryview | Codes
"""Memory the kernel can read in place; collections.abc.Buffer needs Python 3.12."""


def encode(patches: Floats, dtype: DType) -> Codes:
    """Store unit patches in fewer bytes.

    Args:
        patches: (..., C) float, unit rows.
        dtype: "f32" float32; "bf16" the upper half of a float32, rounded to even, as uint16;
            "int8" each patch scaled by itself so that its largest value is 127.

    Returns:
        (..., C) float32, uint16 or int8. An int8 patch needs no scale beside it: it stands
        for ``codes / |codes|``. A patch that is not finite becomes NaN (bf16) or is refused
        (int8, which has no way to say so).
    """
    values = np.ascontiguousarray(patches, dtype=np.float32)
    if dtype == "f32":
        return values
    if dtype == "bf16":
        bits = values.view(np.uint32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        quiet = ((bits >> 16) | 0x40).astype(np.uint16)
        codes: Codes = np.where(np.isnan(values), quiet, rounded)
        return codes
    if dtype == "int8":
        if not np.isfinite(values).all():
            raise InputError("patches with NaN or infinity cannot be stored as int8")
        # Float32 throughout: the kernel quantises queries with the same roundings.
        top = np.abs(values).max(axis=-1, keepdims=True, initial=0.0)
        step = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top >= 1e-30)
        return np.asarray(np.rint(values * step), dtype=np.int8)
    raise InputError(f"there is no dtype {dtype!r}", todo=f"choose one of {', '.join(DTYPES)}")


def decode(codes: Codes, scales: Floats | None = None) -> Float32:
    """The float32 patches that codes of any :func:`encode` dtype stand for.

    Args:
        codes: (..., C) float32, uint16 (bf16) or int8.
        scales: (...) for int8, what each patch's codes are multiplied with; by default the
            inverse of their length.
    """
    if dtype_of(codes) == "f32":
        return np.asarray(codes, dtype=np.float32)
    if dtype_of(codes) == "bf16":
        wide: Float32 = (codes.astype(np.uint32) << 16).view(np.float32)
        return wide
    values = codes.astype(np.float64)
    if scales is None:
        length = np.sqrt((values * values).sum(axis=-1))
        scales = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return (values * np.asarray(scales, dtype=np.float64)[..., None]).astype(np.float32)


def dtype_of(codes: Codes) -> DType:
    """Which format an array holds, by its NumPy dtype; any float counts as f32."""
    if codes.dtype == np.int8:
        return "int8"
    if codes.dtype == np.uint16:
        return "bf16"
    if np.issubdtype(codes.dtype, np.floating):
        return "f32"
    raise InputError(
        f"patches have type {codes.dtype}", why="float32, uint16 (bf16) or int8 is needed"
    )
