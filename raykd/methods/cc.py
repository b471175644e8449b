"""Correlation Congruence for Knowledge Distillation (Peng et al., ICCV 2019)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from raykd.data import Batch
from raykd.methods.method import Method
from raykd.models import Output

WIDTH = 128
"""Number of features of both embeddings; the CRD benchmark's value."""


def correlation_congruence_loss(
    e_s: Float[Tensor, "B D"], e_t: Float[Tensor, "B D"]
) -> Float[Tensor, ""]:
    """Returns the mean over consecutive samples of |Δ_i| · |Δ_i+1|, where Δ = e_s − e_t.

    It is 0 for a batch of one. This is the simplified loss that the paper's author gave to the CRD
    benchmark, in place of the paper's own, which is defined over kernels.
    """
    delta = (e_s - e_t).abs()
    return (delta[:-1] * delta[1:]).sum() / max(1, len(delta) - 1)


class CC(Method):
    """Makes the embedded differences of neighbours in a batch orthogonal, and hence small.

    The teacher's embedding is trained as well, so embedding everything to a constant is a (bad)
    optimum. The CRD benchmark's form is kept nevertheless.

    Args:
        beta: Weight of the correlation loss; 0.02 in the CRD benchmark.
    """

    def __init__(self, s: Output, t: Output, *, beta: float = 0.02) -> None:
        super().__init__(s, t)
        self.beta = beta
        self.embed_s = nn.Linear(s.pooled.shape[1], WIDTH)
        self.embed_t = nn.Linear(t.pooled.shape[1], WIDTH)

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats) and `correlation`."""
        loss = correlation_congruence_loss(self.embed_s(s.pooled), self.embed_t(t.pooled))
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "correlation": self.beta * loss,
        }
