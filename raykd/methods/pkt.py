"""Probabilistic Knowledge Transfer (Passalis and Tefas, ECCV 2018).

Learning Deep Representations with Probabilistic Knowledge Transfer.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from raykd.data import Batch
from raykd.methods.method import Method
from raykd.methods.unit import SMALLEST, bounded
from raykd.models import Output

EPSILON = 1e-7
"""Constant added to lengths and probabilities, as in the author's code and the benchmark."""


def affinities(z: Float[Tensor, "B D"]) -> Float[Tensor, "B B"]:
    """Returns p(j | i) with the cosine kernel (1 + cos) / 2; each row sums to 1."""
    if z.requires_grad:
        z = bounded(z, torch.linalg.vector_norm(z.detach(), dim=1, keepdim=True))
    squared = z.square().sum(1, keepdim=True)
    length = torch.where(squared > SMALLEST**2, squared, 1.0).sqrt()
    z = z / (length + EPSILON)
    kernel = (z @ z.T + 1) / 2
    return kernel / kernel.sum(1, keepdim=True)


def divergence(p_s: Float[Tensor, "B B"], p_t: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Returns the mean over all pairs of p_t log(p_t / p_s), in nats; the paper takes the sum."""
    return (p_t * ((p_t + EPSILON) / (p_s + EPSILON)).log()).mean()


class PKT(Method):
    """Matches the probabilities that samples are each other's neighbours, on pooled features.

    Args:
        beta: Weight of the divergence; 30000 in the CRD benchmark.
    """

    def __init__(self, s: Output, t: Output, *, beta: float = 30000.0) -> None:
        super().__init__(s, t)
        self.beta = beta

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` and `divergence`, both in nats."""
        p_t = t.once("pkt", lambda: affinities(t.pooled))
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "divergence": self.beta * divergence(affinities(s.pooled), p_t),
        }
