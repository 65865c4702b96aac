"""LightCNN-V4 in PyTorch; see :mod:`faceflow.networks.lightcnn` for the same as a graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# (output channels, pooled afterwards, residual blocks afterwards)
_LAYERS = ((48, True, 1), (96, True, 2), (192, True, 3), (128, False, 4), (128, True, 0))
PARTS = (
    *("conv1", "block1", "conv2", "block2", "conv3", "block3", "conv4", "block4", "conv5"),
    "fc",
)
"""The parts in the order they run; the network can be cut before each of them."""
_POOLED = {f"conv{number}" for number, (_, pooled, _) in enumerate(_LAYERS, start=1) if pooled}
_GRID = 8
_EMBEDDING = 256


class MaxFeatureMap(nn.Module):
    """3x3 convolution to 2C channels, then the larger of channel c and channel C + c."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(inputs, 2 * outputs, 3, padding=1)

    def forward(self, value: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        first, second = self.filter(value).chunk(2, dim=1)
        return torch.maximum(first, second)


class Residual(nn.Module):
    """Two max-feature-map layers and the sum with their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = MaxFeatureMap(channels, channels)
        self.conv2 = MaxFeatureMap(channels, channels)

    def forward(self, value: Tensor) -> Tensor:
        """(N, channels, h, w), shape kept."""
        result: Tensor = self.conv2(self.conv1(value)) + value
        return result


class LightCNNV4(nn.Module):
    """(N, 3, 128, 128) RGB in 0..1 -> embedding (N, 256) and patches (N, 128, 8, 8), both raw."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for number, (outputs, _, blocks) in enumerate(_LAYERS, start=1):
            self.add_module(f"conv{number}", MaxFeatureMap(inputs, outputs))
            if blocks:
                layers = [Residual(outputs) for _ in range(blocks)]
                self.add_module(f"block{number}", nn.Sequential(*layers))
            inputs = outputs
        self.fc = nn.Linear(inputs * _GRID * _GRID, _EMBEDDING)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        return self.since(image, PARTS[0])

    def until(self, image: Tensor, part: str) -> Tensor:
        """What the part of that name, one of :data:`PARTS`, is given for an image."""
        value = image
        for name in PARTS[: PARTS.index(part)]:
            value = self._run(name, value)
        return value

    def since(self, value: Tensor, part: str) -> tuple[Tensor, Tensor]:
        """Embedding and patches of what the part of that name is given."""
        for name in PARTS[PARTS.index(part) : -1]:
            value = self._run(name, value)
        return self.fc(value.flatten(1)), value

    def _run(self, name: str, value: Tensor) -> Tensor:
        value = self.get_submodule(name)(value)
        if name in _POOLED:
            value = functional.max_pool2d(value, 2) + functional.avg_pool2d(value, 2)
        return value
