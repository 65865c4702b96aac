"""People set apart judge a network in training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from faceflow.arrays import Float32, Floats
from faceflow.errors import InputError
from faceflow.training.aligned_crops import Crops
from faceflow.training.recipe import NetworkRecipe
from faceflow.training.samples import CLEAN, check_covers
from faceflow.training.split import first_choices, validation_people

Embed = Callable[[Floats], Floats]
"""(n, channels, H, W) scaled images -> (n, D) raw embeddings."""
_BLOCK = 32


class Judge:
    """People set apart: one clean face of each enrolled, their other photos asked.

    A query is another photo, clean or under each of the recipe's covers, with a seed of its
    own, the same in every epoch.

    Attributes:
        apart: (N,) which of the faces are of people set apart.
        people: how many of these have two photos or more.

    Raises:
        InputError: fewer than two such people, or an unknown cover.
    """

    def __init__(self, crops: Crops, how: NetworkRecipe) -> None:
        check_covers(how.covers)
        names = validation_people(crops.names, how.validation_share, seed=how.seed)
        self.apart = np.array([name in names for name in crops.names], np.bool_)[crops.person]
        self._crops = crops
        self.people = 0
        self._enrolled: list[int] = []
        self._asked: list[tuple[int, str]] = []
        for person in np.unique(crops.person[self.apart]):
            first, *others = np.flatnonzero(crops.person == person).tolist()
            self._enrolled.append(first)
            self._asked += [(n, c) for n in others for c in (CLEAN, *how.covers)]
            self.people += bool(others)
        if self.people < 2:
            raise InputError(
                "There are too few people to judge the training by",
                why=f"{self.people} of those set apart have two photos or more with a face",
                todo="give more people with two photos or more, or a larger validation share",
            )

    def __call__(self, embed: Embed) -> tuple[float, float, float]:
        """P@1 covered, P@1 clean, mean margin covered."""
        person = self._crops.person
        right, margin = first_choices(
            in_blocks(embed, [self._crops.scaled(n, c, n) for n, c in self._asked]),
            person[[n for n, _ in self._asked]],
            in_blocks(embed, [self._crops.scaled(n) for n in self._enrolled]),
            person[self._enrolled],
        )
        covered = np.array([cover != CLEAN for _, cover in self._asked])
        return (
            float(right[covered].mean()),
            float(right[~covered].mean()),
            float(margin[covered].mean()),
        )


def in_blocks(embed: Embed, images: list[Float32]) -> Floats:
    """(N, D) embeddings of N images, some at a time."""
    blocks = range(0, len(images), _BLOCK)
    return np.concatenate([embed(np.stack(images[b : b + _BLOCK])) for b in blocks])
