"""A network so small that training it takes seconds, and drawn-by-dice people for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from faceflow import networks
from faceflow.training.aligned_crops import Crops, crop_type
from faceflow.training.recipe import NetworkRecipe

SIDE = 32
SPEC = replace(
    networks.spec("lightcnn-v4"), input_size=(SIDE, SIDE), grid=(4, 4), channels=6, embedding_size=8
)
RECIPE = NetworkRecipe(
    epochs=3, batch_size=12, lr=0.02, momentum=0.9, covers=("blob",), validation_share=0.3
)
_LANDMARKS = np.array([[11, 12], [21, 12], [16, 17], [12, 23], [20, 23]], np.float32)


class Tiny(nn.Module):
    """(N, 3, 32, 32) -> embedding (N, 8), patches (N, 6, 4, 4); with dropout, to be random."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv1 = nn.Conv2d(3, 6, 8, stride=8)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(96, 8)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.relu(self.conv1(images))
        return self.fc(self.drop(maps.flatten(1))), maps


def make_crops(people: int = 12, photos: int = 4) -> Crops:
    """Each person has a pattern of blocks of their own; each photo adds noise."""
    rng = np.random.default_rng(0)
    arrays = np.zeros(people * photos, crop_type(SPEC))
    pattern = rng.integers(60, 196, (people, 1, 8, 8, 3)).repeat(4, axis=2).repeat(4, axis=3)
    noise = rng.integers(-40, 41, (people, photos, SIDE, SIDE, 3))
    arrays["crop"] = (pattern + noise).reshape(-1, SIDE, SIDE, 3).astype(np.uint8)
    arrays["landmarks"] = _LANDMARKS
    person = np.repeat(np.arange(people), photos)
    return Crops(
        arrays, np.arange(len(person)), person, tuple(f"p{n}" for n in range(people)), SPEC
    )
