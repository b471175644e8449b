"""Variational Information Distillation for Knowledge Transfer (Ahn et al., CVPR 2019)."""

from math import expm1, log

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.data import Batch
from raykd.methods.maps import common_size, pooled_to, stage_pairs
from raykd.methods.method import Method
from raykd.models import Output

EPSILON = 1e-5
"""Lower bound of a channel's variance; the authors' value."""
INITIAL_VARIANCE = 5.0
"""Variance of each channel at the start of training; the authors' value."""


def negative_log_likelihood(
    mu: Float[Tensor, "B C H W"], variance: Float[Tensor, "C"], t: Float[Tensor, "B C H W"]
) -> Float[Tensor, ""]:
    """Returns −log q(t | s) in nats: the mean of ((t − μ)² / σ² + log σ²) / 2.

    The constant log(2π) / 2 is left out, as in the authors' code.
    """
    variance = variance[:, None, None]
    return 0.5 * ((mu - t).square() / variance + variance.log()).mean()


class VariationalGaussian(nn.Module):
    """Gaussian q(t | s) of the teacher's map given the student's.

    Three 1 × 1 convolutions of the student's map give the mean; each channel has one learned
    variance.
    """

    def __init__(self, c_s: int, c_t: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            nn.Conv2d(c_s, c_t, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(c_t, c_t, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(c_t, c_t, 1, bias=False),
        )
        self.log_scale = nn.Parameter(torch.full((c_t,), log(expm1(INITIAL_VARIANCE - EPSILON))))

    def forward(
        self, f_s: Float[Tensor, "B Cs Hs Ws"], f_t: Float[Tensor, "B Ct Ht Wt"]
    ) -> Float[Tensor, ""]:
        """Returns the negative log-likelihood of the teacher's map, at the smaller size."""
        size = common_size(f_s, f_t)
        variance = F.softplus(self.log_scale) + EPSILON
        return negative_log_likelihood(
            self.mean(pooled_to(f_s, size)), variance, pooled_to(f_t, size)
        )


class VID(Method):
    """Maximises a lower bound of the mutual information between the maps of every stage.

    Args:
        beta: Weight of the sum over the stages; 1 in the CRD benchmark.
    """

    def __init__(self, s: Output, t: Output, *, beta: float = 1.0) -> None:
        super().__init__(s, t)
        self.beta = beta
        self.stages = nn.ModuleList(
            VariationalGaussian(f_s.shape[1], f_t.shape[1]) for f_s, f_t in stage_pairs(s, t)
        )

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` and `vid`, both in nats; `vid` may be negative."""
        pairs = zip(self.stages, stage_pairs(s, t), strict=True)
        losses = [stage(f_s, f_t) for stage, (f_s, f_t) in pairs]
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "vid": self.beta * sum(losses, s.logits.new_zeros(())),
        }
