"""IResNet-50 and -100 of Table S6: RGB 112x112 in, 512 numbers and 512x7x7 patches out.

InsightFace's improved residual networks (Duta et al. 2021 for the block). Names as in its
``arcface_torch`` checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """bn1, conv1, bn2, prelu, conv2 (carries the stride), bn3, plus the input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        if stride != 1:
            self.downsample: nn.Module = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.downsample(x)


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    rest = (Block(outputs, outputs, 1) for _ in range(blocks - 1))
    return nn.Sequential(Block(inputs, outputs, 2), *rest)


class IResNet(nn.Module):
    """Patches after bn2, (N, 512, 7, 7); at evaluation the dropout behind it does nothing.

    Args:
        blocks: how many residual blocks each of the four stages has.
    """

    def __init__(self, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        self.layer1 = _stage(64, 64, blocks[0])
        self.layer2 = _stage(64, 128, blocks[1])
        self.layer3 = _stage(128, 256, blocks[2])
        self.layer4 = _stage(256, 512, blocks[3])
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(0.0)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 112, 112) -> embedding (N, 512), patches (N, 512, 7, 7)."""
        x = self.prelu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        patches = self.dropout(self.bn2(x))
        return self.features(self.fc(patches.flatten(1))), patches


class IResNet50(IResNet):
    """Stages of 3, 4, 14 and 3 blocks."""

    def __init__(self) -> None:
        super().__init__((3, 4, 14, 3))


class IResNet100(IResNet):
    """Stages of 3, 13, 30 and 3 blocks."""

    def __init__(self) -> None:
        super().__init__((3, 13, 30, 3))
