"""ArcFace ResNet-18 of the paper: gray 128x128 in, 512 numbers and 512x8x8 patches out.

Residual blocks start with a batch normalisation (Deng et al. 2019, "IR"), without squeeze and
excitation. Names as in the checkpoint ``resnet18_110.pth``.
"""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """bn0, conv1, bn1, prelu, conv2 (carries the stride), bn2, plus the input, prelu again.

    One PReLU with a single slope serves twice.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample: nn.Module = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        y = self.bn2(self.conv2(y)) + self.downsample(x)
        return self.prelu(y)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))


class ArcFaceResNet18(nn.Module):
    """Patches after bn4, (N, 512, 8, 8); at evaluation the dropout behind it does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = _stage(64, 64, 1)
        self.layer2 = _stage(64, 128, 2)
        self.layer3 = _stage(128, 256, 2)
        self.layer4 = _stage(256, 512, 2)
        self.bn4 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout()
        self.fc5 = nn.Linear(512 * 8 * 8, 512)
        self.bn5 = nn.BatchNorm1d(512)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embedding (N, 512), layer 3 (N, 256, 16, 16), bn4 and dropout (N, 512, 8, 8)."""
        x = self.maxpool(self.prelu(self.bn1(self.conv1(images))))
        middle = self.layer3(self.layer2(self.layer1(x)))
        last = self.dropout(self.bn4(self.layer4(middle)))
        return self.bn5(self.fc5(last.flatten(1))), middle, last

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, 128, 128) -> embedding (N, 512), patches (N, 512, 8, 8)."""
        embedding, _, last = self.maps(images)
        return embedding, last


class ArcFaceResNet18Layer3(ArcFaceResNet18):
    """The same network with the 16x16 maps of layer 3 as its patches."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, 128, 128) -> embedding (N, 512), patches (N, 256, 16, 16)."""
        embedding, middle, _ = self.maps(images)
        return embedding, middle
