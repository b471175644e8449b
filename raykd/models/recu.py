"""Binary residual networks with ReCU: Reviving the Dead Weights (Xu et al., ICCV 2021).

Weights and activations of all 3×3 convolutions but the first are −1 or 1, with a learned scale
for each output channel; the first convolution and the classifier keep full precision. In the
forward pass only signs count: the rectified clamp and the schedule of τ act on the gradient.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.models.output import Output
from raykd.models.stage import Stage
from raykd.storable import storable

TAU = (0.85, 0.99)
"""The quantile τ at the start and at the end of the training, as in ReCU's experiments."""

EPS = 1e-5


def sign(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """1 where x ≥ 0 and −1 elsewhere (ReCU's code gives 0 at 0, which is not binary)."""
    signs: Tensor = torch.where(x >= 0, 1.0, -1.0)
    return signs.to(x.dtype)


class SignOfWeight(torch.autograd.Function):
    """Sign with the straight-through gradient 1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Returns the signs."""
        return sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keeps nothing."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Returns the gradient as it is."""
        return grad


class SignOfActivation(torch.autograd.Function):
    """Sign with the gradient max(0, 2 − 2|x|) of a piecewise polynomial (Bi-Real Net, 2018)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Returns the signs."""
        return sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keeps x."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Returns the gradient times max(0, 2 − 2|x|)."""
        (x,) = ctx.saved_tensors
        return torch.mul(grad, (2 - 2 * x.abs()).clamp(min=0))


def standardise(w: Float[Tensor, "D C h w"]) -> Float[Tensor, "D C h w"]:
    """Centres each filter and gives it a standard deviation of 2√2: a Laplace scale b of 2."""
    w = w - w.mean(dim=(1, 2, 3), keepdim=True)
    return w * (2 * math.sqrt(2)) / (w.var(dim=(1, 2, 3), keepdim=True) + EPS).sqrt()


def rectified_clamp(
    w: Float[Tensor, "D C h w"], tau: Float[Tensor, ""]
) -> Float[Tensor, "D C h w"]:
    """Moves weights beyond the quantiles to them: min(max(w, Q(1 − τ)), Q(τ)).

    Q(τ) = −b·ln(2 − 2τ) of the Laplace distribution, with its maximum-likelihood scale b, the
    mean of |w| over the layer. Q carries no gradient, and neither do the weights that are moved.
    """
    q = -w.detach().abs().mean() * torch.log(2 - 2 * tau)
    return w.clamp(-q, q)


class BinaryConv2d(nn.Conv2d):
    """A 3×3 convolution of signs by signs, times a learned scale for each output channel."""

    tau: Tensor
    alpha: nn.Parameter

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__(channels_in, channels, 3, stride, padding=1, bias=False)
        self.alpha = nn.Parameter(torch.rand(channels, 1, 1))
        self.register_buffer("tau", torch.tensor(TAU[0]))

    def binary_weight(self) -> Float[Tensor, "D C 3 3"]:
        """The weights that the convolution uses: signs."""
        weight: Tensor = SignOfWeight.apply(rectified_clamp(standardise(self.weight), self.tau))
        return weight

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the scaled convolution."""
        if self.training:
            # No sign changes; it sets which activations have a gradient.
            x = x / (x.var(dim=(1, 2, 3), keepdim=True) + EPS).sqrt()
        x = SignOfActivation.apply(x)
        return F.conv2d(x, self.binary_weight(), stride=self.stride, padding=1) * self.alpha


class BinaryBlock(nn.Module):
    """Two binary convolutions with batch norm; returns their sum, before the hardtanh.

    Args:
        channels_in: Channels of the input.
        channels: Channels of the output.
        stride: 2 halves the size; the shortcut is then pooled and padded with empty channels.
        every: Whether a shortcut spans each convolution, or one both.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, every: bool) -> None:
        super().__init__()
        self.conv1 = BinaryConv2d(channels_in, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = BinaryConv2d(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.every = stride, every
        self.padding = (channels - channels_in) // 2

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the pre-activation sum."""
        shortcut = F.avg_pool2d(x, 2) if self.stride == 2 else x
        shortcut = F.pad(shortcut, (0, 0, 0, 0, self.padding, self.padding))
        out: Tensor = self.bn1(self.conv1(x))
        if self.every:
            shortcut = F.hardtanh(out + shortcut)
            out = shortcut
        else:
            out = F.hardtanh(out)
        out = self.bn2(self.conv2(out))
        return out + shortcut


@storable("widths", "blocks", "every", "num_classes", "in_channels", "feature")
class BinaryResNet(nn.Module):
    """A full-precision stem, stages of two or three binary blocks each, and a classifier.

    Args:
        widths: Channels of the stages; the stem has the first stage's.
        blocks: Blocks in each stage.
        every: Whether a shortcut spans each binary convolution, or each pair of them. With it the
            stem ends in a hardtanh.
        num_classes: Width of the classifier.
        in_channels: 3 for colour images, 1 for grey ones.
        feature: Whether `pooled` is taken after the batch norm between pooling and classifier or
            before it. What ITRD used was never published; "after_bn" is assumed, as the paper
            takes its features immediately before the final linear layer.

    Raises:
        ValueError: `feature` is neither.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: int,
        every: bool,
        num_classes: int = 10,
        in_channels: int = 3,
        feature: str = "after_bn",
    ) -> None:
        super().__init__()
        if feature not in ("after_bn", "before_bn"):
            raise ValueError(f"feature is {feature!r}; it is 'after_bn' or 'before_bn'")
        self.every, self.feature, self.depth = every, feature, len(widths)
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        channels = widths[0]
        for index, width in enumerate(widths):
            first = BinaryBlock(channels, width, 2 if index else 1, every)
            rest = (BinaryBlock(width, width, 1, every) for _ in range(blocks - 1))
            stage = Stage(first, *rest, activation=F.hardtanh)
            self.add_module(f"layer{index + 1}", stage)
            channels = width
        self.bn2 = nn.BatchNorm1d(channels)
        self.linear = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    @property
    def head(self) -> nn.Module:
        """The classifier, with the batch norm before it where that comes after `pooled`."""
        return self.linear if self.feature == "after_bn" else nn.Sequential(self.bn2, self.linear)

    def schedule(self, progress: float) -> None:
        """Sets τ for the share of the training that is done, in [0, 1].

        It grows exponentially: 0.85 + (0.99 − 0.85)·(e^progress − 1) / (e − 1).
        """
        start, end = TAU
        tau = start + (end - start) * math.expm1(progress) / math.expm1(1)
        for module in self.modules():
            if isinstance(module, BinaryConv2d):
                module.tau.fill_(tau)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Output:
        """Runs the network; `stages` are the maps after each stage's last hardtanh."""
        x = self.bn1(self.conv1(x))
        if self.every:
            x = F.hardtanh(x)
        stages, preacts = [], []
        for index in range(self.depth):
            x, preact = self.get_submodule(f"layer{index + 1}")(x)
            stages.append(x)
            preacts.append(preact)
        raw = x.mean(dim=(2, 3))
        normed = self.bn2(raw)
        pooled = normed if self.feature == "after_bn" else raw
        return Output(self.linear(normed), tuple(stages), pooled, tuple(preacts))


@storable("num_classes", "in_channels", "feature")
def resnet18_1w1a(
    num_classes: int = 10, in_channels: int = 3, *, feature: str = "after_bn"
) -> BinaryResNet:
    """Binary ResNet-18: 16 binary convolutions, a shortcut around each pair."""
    return BinaryResNet((64, 128, 256, 512), 2, False, num_classes, in_channels, feature)


@storable("num_classes", "in_channels", "feature")
def resnet20_1w1a(
    num_classes: int = 10, in_channels: int = 3, *, feature: str = "after_bn"
) -> BinaryResNet:
    """Binary ResNet-20: 18 binary convolutions, a shortcut around each."""
    return BinaryResNet((16, 32, 64), 3, True, num_classes, in_channels, feature)
