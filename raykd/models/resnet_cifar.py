"""The ImageNet ResNets (He et al., CVPR 2016, table 1) with a stem for small images.

The networks have a 3×3 stem without pooling and four stages of 64, 128, 256 and 512 channels (four
times as many with bottleneck blocks). Parameters are named as in the CRD benchmark (Tian et al.,
ICLR 2020), so that its ResNet-50 teacher loads strictly.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.models.init import he_normal_
from raykd.models.output import Output
from raykd.models.stage import Stage
from raykd.storable import storable


@storable()
class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; returns their sum, before the ReLU."""

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(channels_in, width, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the sum, before the ReLU."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return torch.add(out, self.shortcut(x))


@storable()
class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut; returns their sum, before the ReLU."""

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels = self.expansion * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.shortcut = _shortcut(channels_in, channels, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the sum, before the ReLU."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        return torch.add(out, self.shortcut(x))


def _shortcut(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    if stride == 1 and channels_in == channels:
        return nn.Sequential()
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
    )


@storable("block", "blocks", "num_classes", "in_channels")
class FourStageResNet(nn.Module):
    """ResNet with a 3×3 stem and four stages of residual blocks.

    Args:
        block: Class of the residual blocks.
        blocks: Number of blocks in each stage.
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images, 1 for grey ones.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        num_classes: int = 100,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        wide = block.expansion
        self.layer1 = _stage(block, blocks[0], 64, 64, stride=1)
        self.layer2 = _stage(block, blocks[1], 64 * wide, 128, stride=2)
        self.layer3 = _stage(block, blocks[2], 128 * wide, 256, stride=2)
        self.layer4 = _stage(block, blocks[3], 256 * wide, 512, stride=2)
        self.linear = nn.Linear(512 * wide, num_classes)
        he_normal_(self)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which turns `pooled` into `logits`."""
        return self.linear

    def forward(self, x: Float[Tensor, "B C H W"]) -> Output:
        """Runs the network; `stages` are the maps after each stage's last ReLU."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        f1, preact1 = self.layer1(x)
        f2, preact2 = self.layer2(f1)
        f3, preact3 = self.layer3(f2)
        f4, preact4 = self.layer4(f3)
        pooled = f4.mean(dim=(2, 3))
        preacts = (preact1, preact2, preact3, preact4)
        return Output(self.linear(pooled), (f1, f2, f3, f4), pooled, preacts)


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    blocks: int,
    channels_in: int,
    width: int,
    stride: int,
) -> Stage:
    first = block(channels_in, width, stride)
    return Stage(first, *(block(width * block.expansion, width, 1) for _ in range(blocks - 1)))


@storable("num_classes", "in_channels")
def resnet18_cifar(num_classes: int = 100, in_channels: int = 3) -> FourStageResNet:
    """Builds ResNet-18 for small images; with 10 classes it is ReCU's full-precision teacher."""
    return FourStageResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet34_cifar(num_classes: int = 100, in_channels: int = 3) -> FourStageResNet:
    """Builds ResNet-34 for small images."""
    return FourStageResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels)


@storable("num_classes", "in_channels")
def resnet50_cifar(num_classes: int = 100, in_channels: int = 3) -> FourStageResNet:
    """Builds ResNet-50 for small images: the CRD benchmark's teacher."""
    return FourStageResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels)
