"""ShuffleNet (Zhang et al., CVPR 2018) for small images, as in the CRD benchmark.

A 1×1 stem and three stages that each halve the size. Parameters are named as in the CRD benchmark
(Tian et al., ICLR 2020), so that its checkpoints load strictly.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.models.output import Output
from raykd.models.stage import Stage
from raykd.storable import storable


class ShuffleUnit(nn.Module):
    """Grouped 1×1, depthwise 3×3 and grouped 1×1 convolutions, and a shortcut (figure 2).

    With stride 2 the pooled input is appended to the channels instead of added. Returns the map
    before the ReLU.
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, groups: int, first_groups: int
    ) -> None:
        super().__init__()
        made = channels - channels_in if stride == 2 else channels
        width = made // 4
        self.conv1 = nn.Conv2d(channels_in, width, 1, groups=first_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.shuffle = nn.ChannelShuffle(first_groups)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, made, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(made)
        self.stride = stride

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the pre-activation sum, or both parts side by side."""
        out: Tensor = self.shuffle(F.relu(self.bn1(self.conv1(x)), inplace=True))
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        if self.stride == 2:
            return torch.cat([out, F.avg_pool2d(x, 3, stride=2, padding=1)], dim=1)
        return out + x


@storable("groups", "widths", "blocks", "num_classes", "in_channels")
class ShuffleNetV1(nn.Module):
    """A stem of 24 channels and three stages.

    Args:
        groups: Groups of the 1×1 convolutions; 1 on the stem.
        widths: Channels of the stages.
        blocks: Units in each stage.
        num_classes: Width of the classifier.
        in_channels: 3 for colour images, 1 for grey ones.
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
        """The classifier."""
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
    """ShuffleNet with 3 groups: "ShuffleNetV1" in the CRD benchmark's tables."""
    return ShuffleNetV1(3, (240, 480, 960), (4, 8, 4), num_classes, in_channels)
