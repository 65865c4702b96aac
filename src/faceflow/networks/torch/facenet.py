"""FaceNet's Inception-ResNet-v1 of the paper: RGB 160x160 in, 512 numbers, 1792x3x3 patches.

Szegedy et al. 2017, as D. Sandberg trained it. Names as in ``20180402-114759-vggface2.pt``,
whose classifier ``logits`` is left out: it plays no part in features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Conv(nn.Module):
    """Convolution without bias, batch normalisation (epsilon 1e-3), ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, h, w)."""
        return functional.relu(self.bn(self.conv(x)))


class Block35(nn.Module):
    """Residual block on 17x17 maps: three branches, 256 channels."""

    def __init__(self, scale: float = 0.17) -> None:
        super().__init__()
        self.scale = scale
        self.branch0 = Conv(256, 32, 1)
        self.branch1 = nn.Sequential(Conv(256, 32, 1), Conv(32, 32, 3, padding=1))
        self.branch2 = nn.Sequential(
            Conv(256, 32, 1), Conv(32, 32, 3, padding=1), Conv(32, 32, 3, padding=1)
        )
        self.conv2d = nn.Conv2d(96, 256, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 256, H, W) -> the same shape."""
        joined = torch.cat([self.branch0(x), self.branch1(x), self.branch2(x)], 1)
        return functional.relu(x + self.scale * self.conv2d(joined))


class CrossBlock(nn.Module):
    """Residual block of a 1x1 branch and one with a row and a column convolution.

    Block17 (896 channels, kernels of 7) and Block8 (1792 channels, kernels of 3).
    """

    def __init__(
        self, channels: int, width: int, length: int, scale: float, *, relu: bool = True
    ) -> None:
        super().__init__()
        self.scale, self.relu = scale, relu
        half = length // 2
        self.branch0 = Conv(channels, width, 1)
        self.branch1 = nn.Sequential(
            Conv(channels, width, 1),
            Conv(width, width, (1, length), padding=(0, half)),
            Conv(width, width, (length, 1), padding=(half, 0)),
        )
        self.conv2d = nn.Conv2d(2 * width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        joined = torch.cat([self.branch0(x), self.branch1(x)], 1)
        out = x + self.scale * self.conv2d(joined)
        return functional.relu(out) if self.relu else out


class Mixed6a(nn.Module):
    """17x17 to 8x8 maps, 256 to 896 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = Conv(256, 384, 3, 2)
        self.branch1 = nn.Sequential(
            Conv(256, 192, 1), Conv(192, 192, 3, padding=1), Conv(192, 256, 3, 2)
        )
        self.branch2 = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 256, 17, 17) -> (N, 896, 8, 8)."""
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x)], 1)


class Mixed7a(nn.Module):
    """8x8 to 3x3 maps, 896 to 1792 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(Conv(896, 256, 1), Conv(256, 384, 3, 2))
        self.branch1 = nn.Sequential(Conv(896, 256, 1), Conv(256, 256, 3, 2))
        self.branch2 = nn.Sequential(
            Conv(896, 256, 1), Conv(256, 256, 3, padding=1), Conv(256, 256, 3, 2)
        )
        self.branch3 = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 896, 8, 8) -> (N, 1792, 3, 3)."""
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        return torch.cat([branch(x) for branch in branches], 1)


class InceptionResNetV1(nn.Module):
    """Patches after block8, (N, 1792, 3, 3); the embedding has length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = Conv(3, 32, 3, 2)
        self.conv2d_2a = Conv(32, 32, 3)
        self.conv2d_2b = Conv(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = Conv(64, 80, 1)
        self.conv2d_4a = Conv(80, 192, 3)
        self.conv2d_4b = Conv(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(Block35() for _ in range(5)))
        self.mixed_6a = Mixed6a()
        self.repeat_2 = nn.Sequential(*(CrossBlock(896, 128, 7, 0.10) for _ in range(10)))
        self.mixed_7a = Mixed7a()
        self.repeat_3 = nn.Sequential(*(CrossBlock(1792, 192, 3, 0.20) for _ in range(5)))
        self.block8 = CrossBlock(1792, 192, 3, 1.0, relu=False)
        self.dropout = nn.Dropout(0.6)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=1e-3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 160, 160) -> unit embedding (N, 512), patches (N, 1792, 3, 3)."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(images)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        patches = self.block8(self.repeat_3(self.mixed_7a(x)))
        pooled = self.dropout(patches.mean(dim=(2, 3)))
        return functional.normalize(self.last_bn(self.last_linear(pooled)), dim=1), patches
