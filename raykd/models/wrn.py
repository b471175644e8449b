"""Wide residual networks (Zagoruyko and Komodakis, BMVC 2016), as in the CRD benchmark.

Batch norm and ReLU come before each convolution, so a stage's map is the sum that its last block
returns, and `preacts` are these maps after the next batch norm. Parameters are named as in the CRD
benchmark (Tian et al., ICLR 2020), so that its checkpoints load strictly.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.models.init import he_normal_
from raykd.models.output import Output
from raykd.storable import storable


class WideBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.convShortcut: nn.Conv2d | None = None
        if channels_in != channels:
            self.convShortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(
        self, x: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B C H W"]]:
        """Returns the block's sum, and its input after the first batch norm."""
        preact = self.bn1(x)
        active = F.relu(preact)
        out = F.relu(self.bn2(self.conv1(active)), inplace=True)
        shortcut = x if self.convShortcut is None else self.convShortcut(active)
        return self.conv2(out) + shortcut, preact


class WideStage(nn.Module):
    """A sequence of blocks, the first of which changes the number of channels and the size."""

    def __init__(self, blocks: int, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            WideBlock(channels_in, channels, stride),
            *(WideBlock(channels, channels, 1) for _ in range(blocks - 1)),
        )

    def forward(
        self, x: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B C H W"]]:
        """Returns the stage's map, and its input after the first batch norm."""
        first, *rest = self.layer
        x, preact = first(x)
        for block in rest:
            x, _ = block(x)
        return x, preact


@storable("depth", "widen_factor", "num_classes", "in_channels")
class WideResNet(nn.Module):
    """A wide ResNet: a stem of 16 channels and three stages.

    The stages have 16, 32 and 64 times `widen_factor` channels.

    Args:
        depth: Nominal number of layers, 4 + 6·blocks for `blocks` blocks in each stage.
        widen_factor: Number of channels relative to a CIFAR ResNet.
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images, 1 for grey ones.

    Raises:
        ValueError: No whole number of blocks gives `depth`.
    """

    def __init__(
        self, depth: int, widen_factor: int, num_classes: int = 100, in_channels: int = 3
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6 != 0:
            raise ValueError(f"depth is {depth}; it must be 10, 16, 22, … (4 + 6·blocks)")
        blocks = (depth - 4) // 6
        c1, c2, c3 = 16 * widen_factor, 32 * widen_factor, 64 * widen_factor
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.block1 = WideStage(blocks, 16, c1, stride=1)
        self.block2 = WideStage(blocks, c1, c2, stride=2)
        self.block3 = WideStage(blocks, c2, c3, stride=2)
        self.bn1 = nn.BatchNorm2d(c3)
        self.fc = nn.Linear(c3, num_classes)
        he_normal_(self)
        nn.init.zeros_(self.fc.bias)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which turns `pooled` into `logits`."""
        return self.fc

    def forward(self, x: Float[Tensor, "B C H W"]) -> Output:
        """Runs the network; `preacts` are the `stages` after the next batch norm."""
        f1, _ = self.block1(self.conv1(x))
        f2, preact1 = self.block2(f1)
        f3, preact2 = self.block3(f2)
        preact3 = self.bn1(f3)
        pooled = F.relu(preact3).mean(dim=(2, 3))
        return Output(self.fc(pooled), (f1, f2, f3), pooled, (preact1, preact2, preact3))


@storable("num_classes", "in_channels")
def wrn_16_1(num_classes: int = 100, in_channels: int = 3) -> WideResNet:
    """Builds WRN-16-1 (depth 16, widen factor 1)."""
    return WideResNet(16, 1, num_classes, in_channels)


@storable("num_classes", "in_channels")
def wrn_16_2(num_classes: int = 100, in_channels: int = 3) -> WideResNet:
    """Builds WRN-16-2 (depth 16, widen factor 2)."""
    return WideResNet(16, 2, num_classes, in_channels)


@storable("num_classes", "in_channels")
def wrn_40_1(num_classes: int = 100, in_channels: int = 3) -> WideResNet:
    """Builds WRN-40-1 (depth 40, widen factor 1)."""
    return WideResNet(40, 1, num_classes, in_channels)


@storable("num_classes", "in_channels")
def wrn_40_2(num_classes: int = 100, in_channels: int = 3) -> WideResNet:
    """Builds WRN-40-2 (depth 40, widen factor 2)."""
    return WideResNet(40, 2, num_classes, in_channels)
