"""ShuffleNet (Zhang et al., CVPR 2018) for small images, as in the CRD benchmark.

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


class ShuffleUnit(nn.Module):
    """Grouped 1×1, depthwise 3×3 and grouped 1×1 convolutions with a shortcut (figure 2).

    With stride 1 the input is added to the result. With stride 2 the average-pooled input is
    concatenated to it along the channels. The unit returns its map before the last ReLU.

    Args:
        channels_in: Channels of the input.
        channels: Channels of the output; with stride 2 those of the pooled input are among them.
        stride: 2 halves the height and width, 1 keeps them.
        groups: Groups of the last convolution.
        first_groups: Groups of the first convolution and of the channel shuffle.
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, groups: int, first_groups: int
    ) -> None:
        super().__init__()
        computed = channels - channels_in if stride == 2 else channels
        width = computed // 4
        self.conv1 = nn.Conv2d(channels_in, width, 1, groups=first_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.shuffle = nn.ChannelShuffle(first_groups)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, computed, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(computed)
        self.stride = stride

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the sum of both branches (stride 1) or their concatenation (stride 2)."""
        out: Tensor = self.shuffle(F.relu(self.bn1(self.conv1(x)), inplace=True))
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        if self.stride == 2:
            return torch.cat([out, F.avg_pool2d(x, 3, stride=2, padding=1)], dim=1)
        return out + x


@storable("groups", "widths", "blocks", "num_classes", "in_channels")
class ShuffleNetV1(nn.Module):
    """ShuffleNet with a stem of 24 channels and three stages.

    Args:
        groups: Groups of the 1×1 convolutions; the one that follows the stem has a single group.
        widths: Channels of each stage.
        blocks: Number of units in each stage.
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images, 1 for grey ones.
    """

    def __init__(
        self,
        groups: int,
        widths: tuple[int, int, int],
        blocks: tuple[int, int, int],
        num_classes: int = 100,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        c1, c2, c3 = widths
        self.conv1 = nn.Conv2d(in_channels, 24, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.layer1 = _stage(blocks[0], 24, c1, groups, first_groups=1)
        self.layer2 = _stage(blocks[1], c1, c2, groups, first_groups=groups)
        self.layer3 = _stage(blocks[2], c2, c3, groups, first_groups=groups)
        self.linear = nn.Linear(c3, num_classes)

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
        pooled = f3.mean(dim=(2, 3))
        return Output(self.linear(pooled), (f1, f2, f3), pooled, (preact1, preact2, preact3))


def _stage(blocks: int, channels_in: int, channels: int, groups: int, first_groups: int) -> Stage:
    first = ShuffleUnit(channels_in, channels, 2, groups, first_groups)
    return Stage(
        first, *(ShuffleUnit(channels, channels, 1, groups, groups) for _ in range(blocks - 1))
    )


@storable("num_classes", "in_channels")
def shufflenetv1(num_classes: int = 100, in_channels: int = 3) -> ShuffleNetV1:
    """Builds ShuffleNet with 3 groups: "ShuffleNetV1" in the CRD benchmark's tables."""
    return ShuffleNetV1(3, (240, 480, 960), (4, 8, 4), num_classes, in_channels)
