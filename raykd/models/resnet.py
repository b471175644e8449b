"""CIFAR ResNets (He et al., CVPR 2016, section 4.2), with the widths of the CRD benchmark.

The networks have a stem and three stages of basic blocks at full, half and quarter size, followed
by global average pooling. Parameters are named as in the CRD benchmark (Tian et al., ICLR 2020), so
that its checkpoints load strictly.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.models.init import he_normal_
from raykd.models.output import Output
from raykd.models.stage import Stage
from raykd.storable import storable


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; returns their sum, before the ReLU."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the sum, before the ReLU."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return out + shortcut


@storable("blocks", "widths", "num_classes", "in_channels")
class CifarResNet(nn.Module):
    """CIFAR ResNet with three stages of `blocks` basic blocks: 2 + 6·blocks layers.

    Args:
        blocks: Number of basic blocks in each of the three stages.
        widths: Channels of the stem and of the three stages.
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images, 1 for grey ones.

    Raises:
        ValueError: `blocks` is below 1, or `widths` doesn't have four elements.
    """

    def __init__(
        self,
        blocks: int,
        widths: tuple[int, ...] = (16, 16, 32, 64),
        num_classes: int = 100,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"blocks is {blocks}; a stage needs at least 1")
        if len(widths) != 4:
            raise ValueError(f"widths is {widths}; give four: the stem's and the three stages'")
        stem, c1, c2, c3 = widths
        self.conv1 = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = _stage(blocks, stem, c1, stride=1)
        self.layer2 = _stage(blocks, c1, c2, stride=2)
        self.layer3 = _stage(blocks, c2, c3, stride=2)
        self.fc = nn.Linear(c3, num_classes)
        he_normal_(self)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which turns `pooled` into `logits`."""
        return self.fc

    def forward(self, x: Float[Tensor, "B C H W"]) -> Output:
        """Runs the network; `stages` are the maps after each stage's last ReLU."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        f1, preact1 = self.layer1(x)
        f2, preact2 = self.layer2(f1)
        f3, preact3 = self.layer3(f2)
        pooled = f3.mean(dim=(2, 3))
        return Output(self.fc(pooled), (f1, f2, f3), pooled, (preact1, preact2, preact3))


def _stage(blocks: int, channels_in: int, channels: int, stride: int) -> Stage:
    first = BasicBlock(channels_in, channels, stride)
    return Stage(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


@storable("num_classes", "in_channels")
def resnet8w6(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-8 with 6-12-24 channels: a student small enough for a laptop."""
    return CifarResNet(1, (6, 6, 12, 24), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet8w24(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-8 with 24-48-96 channels: the teacher of `resnet8w6`."""
    return CifarResNet(1, (24, 24, 48, 96), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet8(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-8."""
    return CifarResNet(1, (16, 16, 32, 64), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet14(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-14."""
    return CifarResNet(2, (16, 16, 32, 64), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet20(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-20."""
    return CifarResNet(3, (16, 16, 32, 64), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet32(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-32."""
    return CifarResNet(5, (16, 16, 32, 64), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet44(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-44."""
    return CifarResNet(7, (16, 16, 32, 64), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet56(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-56."""
    return CifarResNet(9, (16, 16, 32, 64), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet110(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-110."""
    return CifarResNet(18, (16, 16, 32, 64), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet8x4(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-8 with stages four times as wide and a stem twice as wide."""
    return CifarResNet(1, (32, 64, 128, 256), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet32x4(num_classes: int = 100, in_channels: int = 3) -> CifarResNet:
    """Builds ResNet-32 with stages four times as wide and a stem twice as wide."""
    return CifarResNet(5, (32, 64, 128, 256), num_classes, in_channels)
