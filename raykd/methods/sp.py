"""Similarity-Preserving Knowledge Distillation (Tung and Mori, ICCV 2019)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from raykd.data import Batch
from raykd.methods.maps import last_stage
from raykd.methods.method import Method
from raykd.methods.unit import SMALLEST, unit
from raykd.models import Output


def similarity(f: Float[Tensor, "B ..."]) -> Float[Tensor, "B B"]:
    """Returns G, the Gram matrix of the flattened maps with its rows scaled to length one.

    The row of a sample of (almost) no length is 0, and its own normalisation gives no gradient.
    """
    q = f.flatten(1)
    return unit(q @ q.T, smallest=SMALLEST**2)  # entries are products of two lengths


def similarity_loss(g_s: Float[Tensor, "B B"], g_t: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Returns L_SP for one pair of layers: ‖G_s − G_t‖² / B²."""
    return F.mse_loss(g_s, g_t)


class SP(Method):
    """Matches the similarities between samples in the last map, which may have any shape.

    Args:
        beta: Weight of the similarity loss; 3000 in the CRD benchmark.
    """

    def __init__(self, s: Output, t: Output, *, beta: float = 3000.0) -> None:
        super().__init__(s, t)
        last_stage("student", s), last_stage("teacher", t)
        self.beta = beta

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats) and `similarity`."""
        g_s = similarity(last_stage("student", s))
        g_t = t.once("sp", lambda: similarity(last_stage("teacher", t)))
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "similarity": self.beta * similarity_loss(g_s, g_t),
        }
