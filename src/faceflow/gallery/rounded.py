"""Stage 1 in int8: which faces can be among the best k, without reading the float embeddings.

An embedding x is held as ``scale * code + residue`` with int8 codes. With the query rounded alike
to q' + r, its product with x is ``q' . scale * code`` up to ``|q'| |residue| + |r| |x|``
(Cauchy-Schwarz), so that every int8 score comes with a proven bound. A face is dropped only where
k others surely have a larger cosine; the rest is for :func:`.search.exact_search` to score.
The scan is compiled (``native/src/scan.hpp``); without the compiled kernel there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from faceflow.arrays import Float32, Int8, Int64
from faceflow.matching.transport import native

LANES = 16
"""Faces whose codes lie side by side, see native/src/scan.hpp."""
MOST_VALUES = 16_384
"""Largest embedding the scan takes: beyond, sums could leave 32 bits."""
# What float32 arithmetic adds to a bound: a few roundings of numbers below 3.
_ARITHMETIC = 4e-6


def available(embedding_size: int) -> bool:
    """Whether embeddings of that size can be scanned in int8 here."""
    return native.available() and 1 <= embedding_size <= MOST_VALUES


@dataclass(frozen=True, slots=True)
class RoundedEmbeddings:
    """The codes of n embeddings.

    Attributes:
        codes: (blocks, ceil(D / 4), 16, 4) int8, with room for more faces.
        scales: (blocks * 16,) float32.
        residues: (blocks * 16,) float32, lengths of what rounding took away.
        faces: n.
    """

    codes: Int8
    scales: Float32
    residues: Float32
    faces: int

    @classmethod
    def of(cls, matrix: Float32) -> Self:
        """Round an (n, D) float32 matrix."""
        words = -(-matrix.shape[1] // 4)
        empty = np.empty(0, np.float32)
        return cls(np.empty((0, words, LANES, 4), np.int8), empty, empty, 0).extended(matrix)

    def extended(self, matrix: Float32) -> Self:
        """The same faces and those after them in ``matrix``; arrays are shared where they suffice.

        Only lanes of new faces are written, so that ``self`` stays valid.
        """
        n = len(matrix)
        codes, scales, residues = self.codes, self.scales, self.residues
        if n > len(codes) * LANES:
            blocks = -(-n // LANES)
            blocks += blocks // 8 if self.faces else 0
            codes = np.zeros((blocks, *codes.shape[1:]), np.int8)
            scales = np.zeros(blocks * LANES, np.float32)
            residues = np.zeros(blocks * LANES, np.float32)
            used = -(-self.faces // LANES)
            codes[:used] = self.codes[:used]
            scales[: self.faces] = self.scales[: self.faces]
            residues[: self.faces] = self.residues[: self.faces]
        native.round_rows(matrix, self.faces, n, codes, scales, residues)
        return type(self)(codes, scales, residues, n)

    def survivors(
        self,
        queries: Float32,
        k: int,
        tolerance: float,
        *,
        threads: int | None = None,
        isa: str | None = None,
    ) -> list[Int64]:
        """Per query the rows, ascending, of all faces that can be among the k of largest cosine.

        Args:
            queries: (Q, D) float32, rows of length 1 or 0.
            k: at least 1; where fewer faces exist all of them survive.
            tolerance: how far from its product with the query a face's cosine may be.
            threads: default the physical cores; other survivors may come, all who can win do.
            isa: force an instruction set.
        """
        wide = queries.astype(np.float64)
        scale = (np.abs(wide).max(axis=1, initial=0.0) / 127).astype(np.float32)
        step = np.where(scale > 0, scale.astype(np.float64), 1.0)[:, None]
        rounded = np.clip(np.rint(wide / step), -127, 127)
        query = np.zeros((len(queries), self.codes.shape[1] * 4), np.int8)
        query[:, : queries.shape[1]] = rounded
        near = rounded * scale.astype(np.float64)[:, None]
        lost = np.linalg.norm(wide - near, axis=1)
        # Float32 rounds either way; these must not become smaller.
        length = (np.linalg.norm(near, axis=1) * (1 + 1e-6)).astype(np.float32)
        slack = (lost * (1 + 1e-4) + tolerance + _ARITHMETIC).astype(np.float32)
        return native.survivors(
            query,
            (scale, length, slack),
            (self.codes, self.scales, self.residues),
            self.faces,
            k,
            threads=threads,
            isa=isa,
        )
