"""Stage 1 on a device: which faces can be among the best k, by a float32 product taken there.

The product only preselects, by the bound of :mod:`.search`, which holds for any order of summation;
the faces it leaves are scored again in float64 as ever, so the answer is the same to the last bit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceflow.arrays import Float32, Int64
from faceflow.errors import InputError
from faceflow.weights import pytorch

_LOG = logging.getLogger("faceflow")
# Products of a block of queries: 256 MB, and as much again for selecting.
_BLOCK_SCORES = 64_000_000
_BLOCK_QUERIES = 1024
_PER_VALUE, _WORKING = 4, 1_500_000_000  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class DeviceEmbeddings:
    """The embeddings of a gallery on a device.

    Attributes:
        matrix: (n, D) float32 tensor, rows of length 1.
    """

    matrix: Any

    @classmethod
    def of(cls, matrix: Float32, device: str) -> DeviceEmbeddings | None:
        """Move embeddings to a device; None, told to the log, where they do not fit.

        Raises:
            MissingExtraError, DeviceError: there is no PyTorch, or it does not see the device.
        """
        torch = pytorch.require(device)
        needed = matrix.size * _PER_VALUE + _WORKING
        if device.startswith("cuda") and needed > torch.cuda.mem_get_info(device)[0]:
            _LOG.info(
                "%d embeddings do not fit into the memory of %s: the CPU searches",
                len(matrix),
                device,
            )
            return None
        own = np.require(matrix, requirements=["C", "W"])
        return cls(torch.from_numpy(own).to(device))

    def candidates(
        self, queries: Float32, k: int, bound: float, excluded: list[Int64] | None = None
    ) -> Iterator[Int64]:
        """For each query the rows, ascending, of all faces that can be among its best k.

        Args:
            queries: (Q, D) float32, rows of length 1 or 0.
            k: at least 1.
            bound: how far a float32 product may be from the true cosine, in full float32.
            excluded: for each query the rows that must not be found.

        Raises:
            InputError: this process multiplies float32 in fewer digits on this device.
        """
        import torch

        if torch.get_float32_matmul_precision() != "highest":
            raise InputError(
                "PyTorch is told to multiply float32 with fewer digits",
                why="the bound that stage 1 selects by would not hold",
                todo='call torch.set_float32_matmul_precision("highest")',
            )
        faces = len(self.matrix)
        step = min(_BLOCK_QUERIES, max(1, _BLOCK_SCORES // faces))
        for start in range(0, len(queries), step):
            block = np.require(queries[start : start + step], requirements=["C", "W"])
            rough = torch.from_numpy(block).to(self.matrix.device) @ self.matrix.T
            for row, rows in zip(rough, (excluded or [])[start : start + step], strict=False):
                row[torch.from_numpy(rows).to(row.device)] = -torch.inf
            # As .search._candidates: rounded down, never up. Excluded faces have -inf.
            least = torch.full((len(rough), 1), torch.finfo(torch.float32).min, device=rough.device)
            if k < faces:
                kth = torch.topk(rough, k, dim=1).values[:, -1:]
                # Two roundings, of the difference and of the bound, each at most 2^-24 of 1.
                least = torch.maximum(least, kth - (2 * bound + 2.0**-22))
            at, found = (one.cpu().numpy() for one in (rough >= least).nonzero(as_tuple=True))
            yield from np.split(found, np.bincount(at, minlength=len(rough)).cumsum()[:-1])
