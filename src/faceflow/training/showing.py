"""Which faces are shown when, and under which cover: functions of seed, epoch and place alone.

Nothing here has a state, so a resumed run sees exactly what the interrupted one would have seen,
however many processes or loading workers there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from faceflow.arrays import Int64
from faceflow.errors import InputError
from faceflow.training.aligned_crops import Crops
from faceflow.training.recipe import NetworkRecipe
from faceflow.training.samples import CLEAN

Shown = tuple[int, int]
"""(epoch, index into the crops)."""


class Showing(Dataset[tuple[Tensor, int]]):
    """Faces as the network sees them, some covered.

    Args:
        crops: the faces.
        labels: (len(crops),) each one's person, 0..P-1.
        recipe: says how many are covered, and how.
    """

    def __init__(self, crops: Crops, labels: Int64, recipe: NetworkRecipe) -> None:
        self._crops, self._labels, self._recipe = crops, labels, recipe

    def __getitem__(self, shown: Shown) -> tuple[Tensor, int]:
        cover, seed = cover_of(self._recipe, *shown)
        index = shown[1]
        return torch.from_numpy(self._crops.scaled(index, cover, seed)), int(self._labels[index])


def cover_of(recipe: NetworkRecipe, epoch: int, index: int) -> tuple[str, int]:
    """The cover a face carries in an epoch, and the cover's seed."""
    rng = np.random.default_rng([recipe.seed, epoch, index])
    if rng.random() >= recipe.covered_share:
        return CLEAN, 0
    return recipe.covers[rng.integers(len(recipe.covers))], int(rng.integers(2**31))


class Steps:
    """The parts of every step that one process computes.

    A step's batch is the next ``batch_size`` faces of the epoch's order; its parts are shared
    out among the processes, so that the batch is the same for any number of them. Faces left
    over at an epoch's end wait for the next epoch's order.

    Args:
        chosen: (N,) indices of the faces that are trained on.
        recipe: gives the batch and its parts.
        rank, processes: this process and how many there are.

    Raises:
        InputError: the batch cannot be shared out, or is larger than N.
    """

    def __init__(
        self, chosen: Int64, recipe: NetworkRecipe, *, rank: int = 0, processes: int = 1
    ) -> None:
        self._chosen, self._recipe = chosen, recipe
        self._rank, self._processes = rank, processes
        shares = recipe.accumulate * processes
        if recipe.batch_size % shares:
            raise InputError(
                f"a batch of {recipe.batch_size} cannot be shared out",
                why=f"{processes} processes compute {recipe.accumulate} parts each",
                todo="choose a batch size that is a multiple of both",
            )
        self.per_epoch = len(chosen) // recipe.batch_size
        if not self.per_epoch:
            raise InputError(
                f"a batch of {recipe.batch_size} needs more than {len(chosen)} faces",
                todo="give more photos, or a smaller batch_size in the recipe",
            )
        self._part = recipe.batch_size // shares

    def parts(self, epoch: int, first: int = 0) -> Iterator[list[Shown]]:
        """This process's parts of an epoch's steps from step ``first`` on, in order."""
        how = self._recipe
        order = self._chosen[
            np.random.default_rng([how.seed, epoch]).permutation(len(self._chosen))
        ]
        for step in range(first, self.per_epoch):
            batch = order[step * how.batch_size : (step + 1) * how.batch_size]
            for number in range(how.accumulate):
                start = (number * self._processes + self._rank) * self._part
                yield [(epoch, int(index)) for index in batch[start : start + self._part]]


def load(
    showing: Showing, parts: Iterator[list[Shown]], *, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """(images, labels) of each part, loaded ahead by worker processes if any."""
    loader: DataLoader[Any] = DataLoader(
        showing,
        batch_sampler=list(parts),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader
