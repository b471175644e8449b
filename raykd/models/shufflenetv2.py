"""ShuffleNet V2 (Ma et al., ECCV 2018) for small images, as in the CRD benchmark.

The network has a 1×1 stem and three stages that each halve the height and width. Parameters are
named as in the CRD benchmark (Tian et al., ICLR 2020), so that its checkpoints load strictly.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.models.output import Output
from raykd.models.stage import Stage
from raykd.storable import storable


class BasicUnit(nn.Module):
    """Transforms one half of the channels and shuffles it with the other (figure 3c).

    The unit returns its map before the last ReLU. That ReLU doesn't change the other half, since
    its values are never negative.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Returns the shuffled map before the ReLU."""
        kept, out = x.chunk(2, dim=1)
        out = F.relu(self.bn1(self.conv1(out)), inplace=True)
        out = self.bn2(self.conv2(out))
        out = self.bn3(self.conv3(out))
        shuffled: Tensor = self.shuffle(torch.cat([kept, out], dim=1))
        return shuffled


class DownUnit(nn.Module):
    """Halves the height and width on two branches and shuffles their channels (figure 3d).

    The unit returns its map before the last ReLU.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(
            channels_in, channels_in, 3, stride=2, padding=1, groups=channels_in, bias=False
        )
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv2 = nn.Conv2d(channels_in, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(channels_in, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, stride=2, padding=1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the shuffled map before the ReLU."""
        left = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        right = F.relu(self.bn3(self.conv3(x)), inplace=True)
        right = self.bn5(self.conv5(self.bn4(self.conv4(right))))
        shuffled: Tensor = self.shuffle(torch.cat([left, right], dim=1))
        return shuffled


@storable("widths", "blocks", "num_classes", "in_channels")
class ShuffleNetV2(nn.Module):
    """ShuffleNet V2 with a stem of 24 channels, three stages and a last 1×1 convolution.

    Args:
        widths: Channels of each stage and of the last convolution.
        blocks: Number of units in each stage, besides the first one, which halves the size.
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images, 1 for grey ones.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        blocks: tuple[int, int, int],
        num_classes: int = 100,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        c1, c2, c3, last = widths
        self.conv1 = nn.Conv2d(in_channels, 24, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.layer1 = _stage(blocks[0], 24, c1)
        self.layer2 = _stage(blocks[1], c1, c2)
        self.layer3 = _stage(blocks[2], c2, c3)
        self.conv2 = nn.Conv2d(c3, last, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(last)
        self.linear = nn.Linear(last, num_classes)

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
        pooled = F.relu(self.bn2(self.conv2(f3)), inplace=True).mean(dim=(2, 3))
        return Output(self.linear(pooled), (f1, f2, f3), pooled, (preact1, preact2, preact3))


def _stage(blocks: int, channels_in: int, channels: int) -> Stage:
    return Stage(DownUnit(channels_in, channels), *(BasicUnit(channels) for _ in range(blocks)))


@storable("num_classes", "in_channels")
def shufflenetv2(num_classes: int = 100, in_channels: int = 3) -> ShuffleNetV2:
    """Builds ShuffleNet V2 1×: "ShuffleNetV2" in the CRD benchmark's tables."""
    return ShuffleNetV2((116, 232, 464, 1024), (3, 7, 3), num_classes, in_channels)
