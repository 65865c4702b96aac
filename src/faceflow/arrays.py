"""Array type names used in every signature, and the one normalisation all of them share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import InputError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]


def unit(vectors: Floats) -> Float32:
    """Scale vectors along the last axis to Euclidean length 1; a zero vector stays zero.

    Args:
        vectors: (..., C), any float type.

    Returns:
        (..., C) float32. The length is taken in float64, so tiny and huge vectors keep
        their direction.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    length = np.linalg.norm(wide, axis=-1, keepdims=True)
    return (wide / np.where(length > 0, length, 1.0)).astype(np.float32)


def require_finite(name: str, values: Floats) -> None:
    """Raise :class:`InputError` naming ``name`` and the first index that is NaN or infinite."""
    finite = np.isfinite(values)
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InputError(
            f"{name} holds NaN or infinity, first at index {first}",
            todo="check the image or array these numbers were computed from",
        )
