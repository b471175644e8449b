"""Distilling Knowledge via Knowledge Review (Chen et al., CVPR 2021)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.data import Batch
from raykd.methods.maps import Map, pooled_to, stage_pairs
from raykd.methods.method import Method
from raykd.models import Output
from raykd.modules.regressor import BatchNorm2d

LEVELS = (4, 2, 1)
"""Heights and widths of the pooled maps that `hcl_loss` compares besides the map itself."""


def hcl_loss(f_s: Float[Tensor, "B C H W"], f_t: Float[Tensor, "B C H W"]) -> Float[Tensor, ""]:
    """Returns the hierarchical context loss (HCL): mean squared differences at falling sizes.

    The map itself has weight 1 and every smaller level half of that before it; the sum is divided
    by the sum of the weights.
    """
    levels = [level for level in LEVELS if level < min(f_s.shape[2:])]
    weights = [0.5**i for i in range(1 + len(levels))]
    losses = [F.mse_loss(f_s, f_t)]
    losses += [F.mse_loss(pooled_to(f_s, (n, n)), pooled_to(f_t, (n, n))) for n in levels]
    total = sum(w * loss for w, loss in zip(weights, losses, strict=True))
    return torch.as_tensor(total) / sum(weights)


class ABF(nn.Module):
    """Attention-based fusion of a student's map with the fused map of the deeper levels.

    Args:
        c_s: Channels of the student's map.
        mid: Channels of the fused map.
        c_t: Channels of the teacher's map.
        deepest: True if there is no deeper map to join.
    """

    def __init__(self, c_s: int, mid: int, c_t: int, *, deepest: bool) -> None:
        super().__init__()
        narrow = nn.Conv2d(c_s, mid, 1, bias=False)
        wide = nn.Conv2d(mid, c_t, 3, padding=1, bias=False)
        for convolution in (narrow, wide):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        self.reduce = nn.Sequential(narrow, BatchNorm2d(mid))
        self.expand = nn.Sequential(wide, BatchNorm2d(c_t))
        self.attention = None if deepest else nn.Conv2d(2 * mid, 2, 1)

    def forward(
        self, f: Map, deeper: Map | None, size: tuple[int, int]
    ) -> tuple[Float[Tensor, "B Ct Ht Wt"], Float[Tensor, "B M Ht Wt"]]:
        """Returns the map to compare with the teacher's map of `size`, and the fused map."""
        fused = self.reduce(f)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, fused.shape[2:])
            share = self.attention(torch.cat([fused, deeper], 1)).sigmoid()
            fused = share[:, :1] * fused + share[:, 1:] * deeper
        if fused.shape[2:] != size:
            fused = F.interpolate(fused, size)
        return self.expand(fused), fused


class ReviewKD(Method):
    """Compares each of the teacher's stages with a fusion of the student's stages from there on.

    The student's side is its stages and pooled features; the teacher's is its stages before their
    last non-linearity (`Output.preacts`) and its pooled features.

    Args:
        beta: Weight of the review. Published: 5 for WRN-40-2 to WRN-16-2, WRN-40-1 and ShuffleNetV1
            and for ResNet-32x4 to ResNet-8x4 and ShuffleNetV1, 8 to ShuffleNetV2, 0.6 for ResNet-56
            to ResNet-20, 1 for ResNet-110 to ResNet-32 and on ImageNet for ResNet-18, 8 for
            MobileNet. Never published for VGG and MobileNetV2.
        warmup: Share of the training over which the weight grows from 0; published as 20 epochs of
            240.
    """

    def __init__(
        self, s: Output, t: Output, *, beta: float = 5.0, warmup: float = 20 / 240
    ) -> None:
        super().__init__(s, t)
        if not 0 <= warmup <= 1:
            raise ValueError(f"warmup is {warmup}; it is a share of the training, from 0 to 1")
        if len(t.preacts) != len(t.stages):
            raise ValueError(
                f"the teacher has {len(t.stages)} stages and {len(t.preacts)} preacts; ReviewKD"
                " compares maps before their last non-linearity: let the teacher's `Output` have"
                " one for each stage (the stage itself where it ends without one)"
            )
        self.beta = beta
        self.warmup = warmup
        self.ramp = 1.0
        mid = min(512, s.pooled.shape[1])
        levels = _levels(s, t)
        self.fusions = nn.ModuleList(
            ABF(f_s.shape[1], mid, f_t.shape[1], deepest=i == 0)
            for i, (f_s, f_t) in enumerate(levels)
        )

    def schedule(self, progress: float) -> None:
        """Sets the factor of `beta`: 0 in the first epoch, 1 from the end of the warm-up."""
        self.ramp = min(1.0, progress / self.warmup) if self.warmup > 0 else 1.0

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats) and `review`."""
        fused: Tensor | None = None
        losses = []
        for fusion, (f_s, f_t) in zip(self.fusions, _levels(s, t), strict=True):
            compared, fused = fusion(f_s, fused, tuple(f_t.shape[2:]))
            losses.append(hcl_loss(compared, f_t))
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "review": self.beta * self.ramp * torch.stack(losses).sum(),
        }


def _levels(s: Output, t: Output) -> list[tuple[Map, Map]]:
    """Returns pairs of maps of student and teacher: pooled features, then stages, deepest first."""
    n = len(stage_pairs(s, t))
    pooled = (s.pooled[:, :, None, None], t.pooled[:, :, None, None])
    return [pooled, *zip(s.stages[: -n - 1 : -1], t.preacts[: -n - 1 : -1], strict=True)]
