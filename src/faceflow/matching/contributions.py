"""What each patch adds to the embedding, in whole numbers: how the default score is computed.

A gallery keeps patches as int8 codes, and a patch's map W_r is rounded to 16 bits here, so
``W_r x_r`` is a sum of whole numbers: exact, and the same to the last bit in any order, batch and
instruction set. The result is rounded to int8 for the transport; what that takes away is kept as
a second int8 for the visible cosine, which needs more digits:

    x_r   ~ norm_r / |codes_r| * codes_r                      the raw patch
    y     = map_scale_r * (map_r . codes_r)                   (D,)
    codes = 127 / max |y| * y, rounded;  residue = 256 times the rest, rounded
    W_r x_r ~ factor_r * (codes + residue / 256),  factor_r = max |y| / 127 * norm_r / |codes_r|

Whether the patch is covered is read off the same codes, with 16-bit weights. A patch of a photo,
which no gallery has rounded yet, is codes and residue as well. The kernel does all of it
(``native/src/contribute.hpp``); the NumPy code below gives the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from faceflow.arrays import Float32, Float64, Int8, Int16, Int64, unit
from faceflow.errors import InputError
from faceflow.matching.transport import native

MOST_CHANNELS = 2048
"""And outputs: what the kernel takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """What the patches of N faces add to their embeddings.

    Attributes:
        codes: (N, R, D) int8; a patch's largest magnitude is 127, or all are 0.
        residues: (N, R, D) int8, 1/256 of a code each.
        factor: (N, R) float32; ``(codes + residues / 256) * factor[..., None]`` are the
            contributions.
        visibility: (N, R) float32, 1 - the probability that a patch is covered.
    """

    codes: Int8
    residues: Int8
    factor: Float32
    visibility: Float32

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | Sequence[int] | Int64) -> Contributions:
        return Contributions(
            self.codes[rows], self.residues[rows], self.factor[rows], self.visibility[rows]
        )

    def unit_patches(self) -> Float32:
        """(N, R, D) what the codes stand for; zero where a patch adds nothing."""
        return unit(self.codes.astype(np.float32))

    def exact(self) -> Float32:
        """(N, R, D) the contributions, residues included."""
        wide = self.codes + self.residues * np.float32(1 / 256)
        return np.asarray(wide * self.factor[..., None], dtype=np.float32)

    def lengths(self) -> Float32:
        """(N, R) lengths of the contributions."""
        squares = np.square(self.codes, dtype=np.int32).sum(axis=2, dtype=np.int64)
        return np.asarray(np.sqrt(squares) * self.factor, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class RoundedModel:
    """A patch model in whole numbers.

    Attributes:
        map: (R, C, D) int16 and
        map_scale: (R, D) float32; their product is the projection.
        cover: (R, C) int16 and
        cover_scale: (R,) float32; their product is the weight of a cover's regression.
        bias: (R,) float32, its constant.
        usual: (R, D) float32, what an average uncovered patch adds.
    """

    map: Int16
    map_scale: Float32
    cover: Int16
    cover_scale: Float32
    bias: Float32
    usual: Float32
    _packed: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, projection: Float32, weight: Float32, bias: Float32, usual: Float32) -> Self:
        """Round a patch model.

        Args:
            projection: (R, C, D) float32.
            weight: (R, C) float32 and
            bias: (R,) float32 of the regressions that tell covers.
            usual: (R, D) float32.
        """
        channels = projection.shape[1]
        # The largest 16-bit number whose products with C codes still add up in 32 bits.
        most = min(2**15 - 1, (2**31 - 1) // (128 * channels))
        codes, scale = _rounded(projection, axis=1, most=most)
        cover, cover_scale = _rounded(weight, axis=1, most=most)
        return cls(
            map=codes.astype(np.int16),
            map_scale=scale,
            cover=cover.astype(np.int16),
            cover_scale=cover_scale,
            bias=np.asarray(bias, np.float32),
            usual=np.ascontiguousarray(usual, np.float32),
        )

    def contributions(
        self,
        codes: Int8,
        residues: Int8 | None = None,
        *,
        norms: Float32 | None = None,
        scales: Float32 | None = None,
        threads: int | None = None,
    ) -> Contributions:
        """What patches add to the embedding, and how visible they are.

        Args:
            codes: (N, R, C) int8 patches, see :func:`faceflow.matching.transport.encode`.
            residues: (N, R, C) int8, 1/256 of a code each, see :func:`residues_of`; None: zero.
            norms: (N, R) float32 lengths of the raw patches; or
            scales: (N, R) float32, what codes without residues are multiplied with to be raw
                patches.
            threads: of the kernel; no result depends on it.
        """
        if native.available():
            level = native.active_level()
            if level not in self._packed:
                self._packed[level] = native.pack_map(self.map)
            found = native.contribute(
                codes, residues, self._packed[level], self.map_scale, self.cover, threads=threads
            )
        else:
            found = contribute(codes, residues, self.map, self.map_scale, self.cover)
        length = np.sqrt(found.squares / 2**16)
        if norms is None:
            if scales is None:
                raise InputError("contributions need norms, or scales of the codes")
            norms = np.asarray(length * scales, dtype=np.float32)
        step = np.divide(norms, length, out=np.zeros_like(length), where=length > 0)
        logit = found.covered / 2**8 * (step * self.cover_scale) + self.bias
        return Contributions(
            found.codes,
            found.residues,
            np.asarray(found.unit * step, dtype=np.float32),
            np.asarray(1 / (1 + np.exp(np.clip(logit, -40, 40))), dtype=np.float32),
        )

    def visible_cosine(
        self, query: Contributions, faces: Contributions, *, threads: int | None = None
    ) -> Float64:
        """Cosine of two embeddings made of nothing but what both faces show.

        As :meth:`faceflow.matching.covers.PatchModel.visible_cosine`, from int8 contributions.

        Args:
            query: of one face.
            faces: of N.
            threads: of the kernel; no result depends on it.

        Returns:
            (N,) float64 in [-1, 1]; 0 where nothing is visible on both.
        """
        shown = query.visibility * faces.visibility
        asked = query.exact()[0] - self.usual
        if native.available():
            return native.visible_cosine(
                shown, asked, self.usual, faces.codes, faces.residues, faces.factor, threads=threads
            )
        return visible_cosine(shown, asked, self.usual, faces.exact())


def residues_of(patches: Float32, codes: Int8) -> Int8:
    """What rounding unit patches (N, R, C) to ``codes`` took away, in 1/256 of a code.

    Zero for patches that come from int8 codes.
    """
    top = np.abs(patches).max(axis=-1, keepdims=True, initial=0.0)
    step = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top >= 1e-30)
    rest = np.rint((patches * step - codes) * np.float32(256))
    return np.asarray(np.clip(rest, -128, 127), dtype=np.int8)


def contribute(
    codes: Int8, residues: Int8 | None, map_: Int16, map_scale: Float32, cover: Int16
) -> native.Contributed:
    """The kernel's twin: see :func:`faceflow.matching.transport.native.contribute`."""
    n, r, _ = codes.shape
    values = np.empty((n, r, map_.shape[2]), np.float32)
    for place in range(r):
        # Whole numbers below 2**53: float64 adds them exactly in any order.
        wide = map_[place].astype(np.float64)
        sums = (codes[:, place].astype(np.float64) @ wide).astype(np.float32)
        if residues is not None:
            rest = (residues[:, place].astype(np.float64) @ wide).astype(np.float32)
            sums += rest * np.float32(1 / 256)
        values[:, place] = sums * map_scale[place]
    top = np.abs(values).max(axis=2, initial=0.0)
    step = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top >= 1e-30)
    exact = values * step[..., None]
    out = np.rint(exact)
    rest = np.minimum(np.rint((exact - out) * np.float32(256)), 127)
    size = np.where(top >= 1e-30, top / np.float32(127), np.float32(0)).astype(np.float32)
    whole = 256 * codes.astype(np.int64)
    if residues is not None:
        whole += residues
    return native.Contributed(
        out.astype(np.int8),
        rest.astype(np.int8),
        size,
        (whole * whole).sum(axis=2),
        (whole * cover).sum(axis=2),
    )


def visible_cosine(
    shown: Float32, query: Float32, usual: Float32, contributions: Float32
) -> Float64:
    """The kernel's twin, in float64; (N, R), (R, D), (R, D) and (N, R, D).

    See :func:`faceflow.matching.transport.native.visible_cosine`.
    """
    # einsum without optimize sums in a fixed order per face: no dependence on the batch.
    wide = shown.astype(np.float64)
    first = np.einsum("nr,rd->nd", wide, query.astype(np.float64))
    second = np.einsum("nr,nrd->nd", wide, contributions.astype(np.float64))
    second -= np.einsum("nr,rd->nd", wide, usual.astype(np.float64))
    length = np.sqrt((first * first).sum(axis=1) * (second * second).sum(axis=1))
    product = (first * second).sum(axis=1)
    cosine = np.divide(product, length, out=np.zeros_like(product), where=length > 0)
    return np.asarray(np.clip(cosine, -1, 1), dtype=np.float64)


def _rounded(values: Float32, *, axis: int, most: int) -> tuple[Float32, Float32]:
    """Whole numbers up to ``most``, and the scale along ``axis`` that they were divided by."""
    scale = np.abs(values).max(axis=axis, keepdims=True) / np.float32(most)
    codes = np.rint(np.divide(values, scale, out=np.zeros_like(values), where=scale > 0))
    return np.clip(codes, -most, most), np.asarray(np.squeeze(scale, axis), np.float32)
