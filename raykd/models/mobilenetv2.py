"""MobileNetV2 (Sandler et al., CVPR 2018, table 2) for small images, as in the CRD benchmark.

The original halves the height and width five times; this network does so four times, in the stem
and in three groups of blocks. A stage's map is a linear bottleneck, which has no non-linearity
after it, so `preacts` are the same maps as `stages`. Parameters are named as in the CRD benchmark
(Tian et al., ICLR 2020), so that its checkpoints load strictly.
"""

from jaxtyping import Float
from torch import Tensor, nn

from raykd.models.init import he_normal_
from raykd.models.output import Output
from raykd.storable import storable

GROUPS = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
"""Channels at width 1, number of blocks and stride of each group of blocks."""

STAGES = (1, 2, 4, 6)
"""Indices of the groups whose outputs are the four stages."""


class InvertedResidual(nn.Module):
    """Expands the channels by a 1×1 convolution, filters each one, and projects them back.

    If the input has the shape of the output, it is added as a shortcut.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = channels_in * expansion
        self.residual = stride == 1 and channels_in == channels
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the linear bottleneck, which no non-linearity follows."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


@storable("width", "expansion", "num_classes", "in_channels")
class MobileNetV2(nn.Module):
    """MobileNetV2 with ReLU in place of ReLU6 and a stem of stride 2.

    Args:
        width: Factor on the original's numbers of channels; the last layer keeps its 1280.
        expansion: Factor by which a block widens its input (T in the benchmark's code).
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images, 1 for grey ones.
    """

    def __init__(
        self, width: float, expansion: int, num_classes: int = 100, in_channels: int = 3
    ) -> None:
        super().__init__()
        channels_in = int(32 * width)
        self.conv1 = _conv(in_channels, channels_in, size=3, stride=2)
        self.blocks = nn.ModuleList()
        for index, (base, blocks, stride) in enumerate(GROUPS):
            channels = int(base * width)
            widen = expansion if index else 1
            group = [InvertedResidual(channels_in, channels, stride, widen)]
            group += [InvertedResidual(channels, channels, 1, widen) for _ in range(blocks - 1)]
            self.blocks.append(nn.Sequential(*group))
            channels_in = channels
        self.conv2 = _conv(channels_in, 1280, size=1, stride=1)
        linear = nn.Linear(1280, num_classes)
        self.classifier = nn.Sequential(linear)
        he_normal_(self)
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)

    @property
    def head(self) -> nn.Sequential:
        """The classifier, which turns `pooled` into `logits`."""
        return self.classifier

    def forward(self, x: Float[Tensor, "B C H W"]) -> Output:
        """Runs the network; `stages` are the outputs of the groups in `STAGES`."""
        x = self.conv1(x)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        stages = tuple(maps[i] for i in STAGES)
        pooled = self.conv2(x).mean(dim=(2, 3))
        return Output(self.classifier(pooled), stages, pooled, preacts=stages)


def _conv(channels_in: int, channels: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


@storable("num_classes", "in_channels")
def mobilenetv2_half(num_classes: int = 100, in_channels: int = 3) -> MobileNetV2:
    """Builds MobileNetV2 at width 0.5, expansion 6: "MobileNetV2" in the CRD benchmark's tables."""
    return MobileNetV2(0.5, 6, num_classes, in_channels)
