"""CosFace sphere20 of the paper: RGB 112x96 in, 512 numbers and 512x7x6 patches out.

20 layers without batch normalisation (Liu et al. 2017; Wang et al. 2018). Names as in the
checkpoint ``ACC99.28.pth``.
"""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions without bias, each with a PReLU, plus the input; nothing after it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.prelu1 = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.prelu2 = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        return x + self.prelu2(self.conv2(self.prelu1(self.conv1(x))))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    head = [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.PReLU(outputs)]
    return nn.Sequential(*head, *(Block(outputs) for _ in range(blocks)))


class Sphere20(nn.Module):
    """Patches after layer 4, (N, 512, 7, 6): 7 rows of 6."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = _stage(3, 64, 1)
        self.layer2 = _stage(64, 128, 2)
        self.layer3 = _stage(128, 256, 4)
        self.layer4 = _stage(256, 512, 1)
        self.fc = nn.Linear(512 * 7 * 6, 512)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 112, 96) -> embedding (N, 512), patches (N, 512, 7, 6)."""
        patches = self.layer4(self.layer3(self.layer2(self.layer1(images))))
        return self.fc(patches.flatten(1)), patches
