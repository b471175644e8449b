"""Binary residual networks with ReCU (Xu et al., "ReCU: Reviving the Dead Weights", ICCV 2021).

The first convolution and the classifier have full precision. All other convolutions are 3×3, with
weights and activations of −1 or 1 and a learned scale for each output channel. The forward pass
uses only the signs, so the rectified clamp and the schedule of τ affect only the gradient.
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
"""Quantile τ at the start and at the end of training, as in ReCU's experiments."""

EPS = 1e-5
"""Constant that is added to a variance before its square root, so that no division is by zero."""


def sign(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns 1 where x ≥ 0 and −1 elsewhere.

    ReCU's code returns 0 for x = 0, which is not binary.
    """
    signs: Tensor = torch.where(x >= 0, 1.0, -1.0)
    return signs.to(x.dtype)


class SignOfWeight(torch.autograd.Function):
    """Sign function with the straight-through gradient 1, for weights."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Returns the signs."""
        return sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Saves nothing, since the gradient doesn't depend on the input."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Returns the gradient unchanged."""
        return grad


class SignOfActivation(torch.autograd.Function):
    """Sign function with the gradient max(0, 2 − 2|x|), for activations.

    The gradient is that of the piecewise polynomial of Bi-Real Net (2018).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Returns the signs."""
        return sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Saves the input for the gradient."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Returns the gradient times max(0, 2 − 2|x|)."""
        (x,) = ctx.saved_tensors
        return torch.mul(grad, (2 - 2 * x.abs()).clamp(min=0))


def standardise(w: Float[Tensor, "D C h w"]) -> Float[Tensor, "D C h w"]:
    """Scales each filter to mean 0 and standard deviation 2√2, that of a Laplace scale b of 2."""
    w = w - w.mean(dim=(1, 2, 3), keepdim=True)
    return w * (2 * math.sqrt(2)) / (w.var(dim=(1, 2, 3), keepdim=True) + EPS).sqrt()


def rectified_clamp(
    w: Float[Tensor, "D C h w"], tau: Float[Tensor, ""]
) -> Float[Tensor, "D C h w"]:
    """Clamps weights to the quantiles Q(1 − τ) and Q(τ): min(max(w, Q(1 − τ)), Q(τ)).

    Q(τ) = −b·ln(2 − 2τ) is the quantile of a Laplace distribution whose scale b is the
    maximum-likelihood estimate, the mean of |w| over the layer. No gradient flows through Q, nor
    to the weights that are clamped.
    """
    q = -w.detach().abs().mean() * torch.log(2 - 2 * tau)
    return w.clamp(-q, q)


class BinaryConv2d(nn.Conv2d):
    """A 3×3 convolution with binary weights and activations and a scale for each output channel.

    The scale `alpha` is learned; the quantile `tau` is a buffer that
    `BinaryResNet.schedule` sets.
    """

    tau: Tensor
    alpha: nn.Parameter

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__(channels_in, channels, 3, stride, padding=1, bias=False)
        self.alpha = nn.Parameter(torch.rand(channels, 1, 1))
        self.register_buffer("tau", torch.tensor(TAU[0]))

    def binary_weight(self) -> Float[Tensor, "D C 3 3"]:
        """Returns the weights that the convolution uses: the signs of the clamped weights."""
        weight: Tensor = SignOfWeight.apply(rectified_clamp(standardise(self.weight), self.tau))
        return weight

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Returns the convolution of the signs, times the scale."""
        if self.training:
            # This changes no sign, but it determines which activations have a gradient.
            x = x / (x.var(dim=(1, 2, 3), keepdim=True) + EPS).sqrt()
        x = SignOfActivation.apply(x)
        return F.conv2d(x, self.binary_weight(), stride=self.stride, padding=1) * self.alpha


class BinaryBlock(nn.Module):
    """Two binary convolutions with batch norm and shortcut; returns the sum before the hardtanh.

    Args:
        channels_in: Channels of the input.
        channels: Channels of the output.
        stride: 2 halves the height and width; the shortcut is then average-pooled. If there are
            more output than input channels, the shortcut is padded with channels of zeros.
        every: Whether each convolution has a shortcut of its own; otherwise one spans both.
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
        """Returns the sum, before the hardtanh."""
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
    """Binary ResNet: a full-precision stem, stages of binary blocks and a classifier.

    Args:
        widths: Channels of each stage; the stem has as many as the first stage.
        blocks: Number of blocks in each stage.
        every: Whether each binary convolution has a shortcut of its own; otherwise one spans each
            pair of them. If True, the stem also ends in a hardtanh.
        num_classes: Number of classes, the width of the classifier.
        in_channels: Number of input channels: 3 for colour images, 1 for grey ones.
        feature: "after_bn" or "before_bn": `pooled` is taken after or before the batch norm between
            pooling and classifier. ITRD never published which one it used; "after_bn" is assumed,
            because the paper takes its features immediately before the final linear layer.

    Raises:
        ValueError: `feature` is neither of the two.
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
        """The classifier, preceded by the batch norm if `pooled` is taken before it."""
        return self.linear if self.feature == "after_bn" else nn.Sequential(self.bn2, self.linear)

    def schedule(self, progress: float) -> None:
        """Sets τ in all binary convolutions for the given progress of training, in [0, 1].

        τ grows exponentially: 0.85 + (0.99 − 0.85)·(e^progress − 1) / (e − 1).
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
    """Builds the binary ResNet-18: 16 binary convolutions with a shortcut around each pair."""
    return BinaryResNet((64, 128, 256, 512), 2, False, num_classes, in_channels, feature)


@storable("num_classes", "in_channels", "feature")
def resnet20_1w1a(
    num_classes: int = 10, in_channels: int = 3, *, feature: str = "after_bn"
) -> BinaryResNet:
    """Builds the binary ResNet-20: 18 binary convolutions with a shortcut around each."""
    return BinaryResNet((16, 32, 64), 3, True, num_classes, in_channels, feature)
