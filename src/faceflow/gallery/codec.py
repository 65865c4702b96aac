"""How the patches of a face become bytes, and back.

A face's payload is a fixed-size byte string of little-endian fields. Patches are kept RAW,
as the network gave them, so that both the unit patches and their lengths come back:

    int8      values (R, C) int8, scales (R,) float32: raw ~ values * scale,
              scale = max |raw| / 127                               R * (C + 4) bytes
    float32   unit patches (R, C) and norms (R,), bit for bit       R * (C + 1) * 4 bytes

The pooled vector (C,) float32 stands beside them in both, exact: it is the centre of APC
weighting and not recoverable from unit patches.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faceflow.arrays import Float32, Int8, require_finite
from faceflow.errors import GalleryError, InputError
from faceflow.features import FaceFeatures, Grid

_RESTORE = "restore a copy, or import a former export"

Parts = Mapping[str, NDArray[Any]]
"""A payload's fields, each with the face axis first."""


class QuantisedPatches(NamedTuple):
    """Patches as a native int8 kernel takes them.

    Attributes:
        values: (k, R, C) int8 in [-127, 127], C-contiguous.
        scales: (k, R) float32; ``values * scales[..., None]`` are the network's raw patches.
    """

    values: Int8
    scales: Float32


class Field(NamedTuple):
    """One array of a payload: its name, little-endian type, and shape for one face."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes for one face."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)


class PatchCodec(ABC):
    """Turns the patches of N faces into N payloads of :attr:`payload_size` bytes, and back."""

    name: ClassVar[str]
    keeps_patches: ClassVar[bool] = True

    def __init__(self, grid: Grid, channels: int) -> None:
        self.grid = grid
        self.channels = channels
        self.fields = self._fields(grid[0] * grid[1], channels)
        self.payload_size = sum(field.size for field in self.fields)

    @abstractmethod
    def _fields(self, r: int, c: int) -> tuple[Field, ...]: ...

    @abstractmethod
    def compress(self, features: FaceFeatures) -> Parts:
        """Fields of N faces, each (N, ...)."""

    @abstractmethod
    def expand(self, parts: Parts) -> tuple[Float32, Float32]:
        """Unit patches (N, R, C) and norms (N, R) from the fields of N faces."""

    @abstractmethod
    def quantised(self, parts: Parts) -> QuantisedPatches:
        """The same patches for an int8 kernel."""

    @abstractmethod
    def require_valid(self, parts: Parts) -> None:
        """Raise InputError for fields that this codec would not have written."""

    def encode(self, features: FaceFeatures) -> list[bytes]:
        """N payloads; what each holds does not depend on the other faces of the batch."""
        return self.pack(self.compress(features))

    def pack(self, parts: Parts) -> list[bytes]:
        """Lay the fields of N faces end to end, one payload per face."""
        n = len(parts[self.fields[0].name])
        rows = np.empty((n, self.payload_size), dtype=np.uint8)
        start = 0
        for field in self.fields:
            values = np.ascontiguousarray(parts[field.name], dtype=field.dtype)
            rows[:, start : start + field.size] = values.reshape(n, -1).view(np.uint8)
            start += field.size
        return [row.tobytes() for row in rows]

    def unpack(self, payloads: Sequence[bytes]) -> dict[str, NDArray[Any]]:
        """Fields of N faces from their payloads, as fresh contiguous arrays.

        Raises:
            GalleryError: a payload has another length than this codec writes.
        """
        if any(len(payload) != self.payload_size for payload in payloads):
            raise GalleryError(
                f"the stored patches are not {self.payload_size} bytes a face",
                why="the gallery is damaged or was written by another program",
                todo=_RESTORE,
            )
        n = len(payloads)
        rows = np.frombuffer(b"".join(payloads), dtype=np.uint8).reshape(n, self.payload_size)
        parts: dict[str, NDArray[Any]] = {}
        start = 0
        for field in self.fields:
            # A copy even where one face makes the slice contiguous: bytes are read-only.
            raw = rows[:, start : start + field.size].copy()
            native = np.dtype(field.dtype).newbyteorder("=")
            values = raw.view(field.dtype).astype(native, copy=False)
            parts[field.name] = values.reshape(n, *field.shape)
            start += field.size
        try:
            for field in self.fields:
                if field.dtype == "<f4":
                    require_finite(field.name, parts[field.name])
            self.require_valid(parts)
        except InputError as error:
            # A right checksum says only that somebody computed it.
            raise GalleryError(
                "the stored patches are not what this codec writes", why=str(error), todo=_RESTORE
            ) from error
        return parts


class Int8Codec(PatchCodec):
    """8 bits a number with one float32 scale a patch.

    The unit patch is ``values / |values|``: the scale cancels, so a patch's direction is as
    good as its 8 bits, whatever its length. A patch of zeros stays zero.
    """

    name = "int8"

    def _fields(self, r: int, c: int) -> tuple[Field, ...]:
        return (
            Field("scales", "<f4", (r,)),
            Field("pooled", "<f4", (c,)),
            Field("patches", "|i1", (r, c)),
        )

    def compress(self, features: FaceFeatures) -> Parts:
        """8-bit values, and scales from each patch's largest number."""
        patches = features.patches
        peak = np.abs(patches).max(axis=-1)
        with np.errstate(divide="ignore"):
            factor = np.where(peak > 0, np.float32(127) / peak, np.float32(0))
        # The quotient of two float32 may round a hair above 127.
        values = np.clip(np.rint(patches * factor[..., None]), -127, 127).astype(np.int8)
        scales = (features.norms.astype(np.float64) * peak / 127).astype(np.float32)
        return {"scales": scales, "pooled": features.pooled, "patches": values}

    def expand(self, parts: Parts) -> tuple[Float32, Float32]:
        """Unit patches from the values alone; norms with the scales."""
        wide = parts["patches"].astype(np.float32)
        # Squares are whole numbers: float32 sums them exactly, in any order, below 2**24.
        exact = np.float32 if 127 * 127 * self.channels < 2**24 else np.float64
        square = np.einsum("nrc,nrc->nr", wide, wide, dtype=exact)
        length = np.sqrt(square.astype(np.float64))
        inverse = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
        wide *= inverse[..., None].astype(np.float32)
        return wide, (length * parts["scales"]).astype(np.float32)

    def quantised(self, parts: Parts) -> QuantisedPatches:
        """The fields as they are."""
        return QuantisedPatches(parts["patches"], parts["scales"])

    def require_valid(self, parts: Parts) -> None:
        """Scales are finite and not negative; -128 is never written."""
        require_finite("scales", parts["scales"])
        if (parts["scales"] < 0).any() or parts["patches"].min(initial=0) == -128:
            raise InputError("a scale is negative, or a patch value is -128")


class Float32Codec(PatchCodec):
    """Every bit kept: the reference that the int8 codec is measured against."""

    name = "float32"

    def _fields(self, r: int, c: int) -> tuple[Field, ...]:
        return (
            Field("norms", "<f4", (r,)),
            Field("pooled", "<f4", (c,)),
            Field("patches", "<f4", (r, c)),
        )

    def compress(self, features: FaceFeatures) -> Parts:
        """The features' own arrays."""
        return {"norms": features.norms, "pooled": features.pooled, "patches": features.patches}

    def expand(self, parts: Parts) -> tuple[Float32, Float32]:
        """The arrays as they were."""
        return parts["patches"], parts["norms"]

    def quantised(self, parts: Parts) -> QuantisedPatches:
        """What :class:`Int8Codec` would have kept."""
        # The embedding plays no part in it.
        features = FaceFeatures(
            np.zeros((len(parts["patches"]), 1), np.float32),
            parts["patches"],
            parts["norms"],
            parts["pooled"],
            self.grid,
        )
        small = Int8Codec(self.grid, self.channels)
        return small.quantised(small.compress(features))

    def require_valid(self, parts: Parts) -> None:
        """Norms are not negative."""
        if (parts["norms"] < 0).any():
            raise InputError("the length of a patch is negative")


class NoCodec(PatchCodec):
    """No patches at all: faces are found by their embeddings, and not re-ranked or explained."""

    name = "none"
    keeps_patches = False

    def _fields(self, r: int, c: int) -> tuple[Field, ...]:
        return ()

    def compress(self, features: FaceFeatures) -> Parts:
        """Nothing."""
        return {}

    def encode(self, features: FaceFeatures) -> list[bytes]:
        """An empty payload a face."""
        return [b""] * len(features)

    def unpack(self, payloads: Sequence[bytes]) -> dict[str, NDArray[Any]]:
        """Nothing, of payloads that are empty."""
        return {} if not any(payloads) else super().unpack(payloads)

    def expand(self, parts: Parts) -> tuple[Float32, Float32]:
        """There is nothing to expand: GalleryError."""
        raise no_patches()

    def quantised(self, parts: Parts) -> QuantisedPatches:
        """There are none: GalleryError."""
        raise no_patches()

    def require_valid(self, parts: Parts) -> None:
        """Nothing is always valid."""


def no_patches() -> GalleryError:
    """The error for a comparison of patches in a gallery that keeps none."""
    return GalleryError(
        "the gallery keeps no patches",
        why="it was made of embeddings alone, which stage 1 compares and nothing else",
        todo="leave alpha and visible_share at 0, or enroll the photos into a new gallery",
    )


CODECS: Mapping[str, type[PatchCodec]] = {c.name: c for c in (Int8Codec, Float32Codec, NoCodec)}


@functools.lru_cache(16)  # every snapshot of a gallery asks
def codec(name: str, grid: Grid, channels: int) -> PatchCodec:
    """The codec of that name for one network's patches.

    Raises:
        InputError: an unknown name; the message lists the known.
    """
    if name not in CODECS:
        raise InputError(
            f"there is no patch codec {name!r}", todo=f"choose one of {', '.join(CODECS)}"
        )
    return CODECS[name](grid, channels)
