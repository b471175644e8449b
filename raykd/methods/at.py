"""Paying More Attention to Attention (Zagoruyko and Komodakis, ICLR 2017)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from raykd.data import Batch
from raykd.methods.maps import common_size, pooled_to, stage_pairs
from raykd.methods.method import Method
from raykd.methods.unit import unit
from raykd.models import Output


def attention_map(f: Float[Tensor, "B C H W"], p: float) -> Float[Tensor, "B H*W"]:
    """Returns Q / ‖Q‖, where Q is the mean of |f|^p over the channels, flattened (section 3.1)."""
    return unit(f.abs().pow(p).mean(1).flatten(1))


def attention_loss(q_s: Float[Tensor, "B L"], q_t: Float[Tensor, "B L"]) -> Float[Tensor, ""]:
    """Returns the mean squared difference of two normalised attention maps (equation 2, one pair).

    The paper takes the norm of the difference. The mean square is the CRD benchmark's, as is the
    default weight.
    """
    return F.mse_loss(q_s, q_t)


class AT(Method):
    """Matches the attention maps of every stage; the larger map is averaged to the smaller size.

    Args:
        beta: Weight of the sum over the stages; 1000 in the CRD benchmark.
        p: Exponent of the attention map, at least 1; 2 in the paper and in the CRD benchmark.
    """

    def __init__(self, s: Output, t: Output, *, beta: float = 1000.0, p: float = 2.0) -> None:
        super().__init__(s, t)
        if p < 1:
            raise ValueError(f"p is {p}; it must be at least 1, for a gradient at zero")
        stage_pairs(s, t)
        self.beta = beta
        self.p = p

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats) and `attention`."""
        losses = [
            self._pair(i, f_s, f_t, t) for i, (f_s, f_t) in enumerate(reversed(stage_pairs(s, t)))
        ]
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "attention": self.beta * sum(losses, s.logits.new_zeros(())),
        }

    def _pair(self, i: int, f_s: Tensor, f_t: Tensor, t: Output) -> Tensor:
        """Returns the loss of one pair of maps.

        `i` counts from the last stage, so that it names the teacher's same map for every student:
        `t.once` shares the teacher's side by that key.
        """
        size = common_size(f_s, f_t)
        q_t = t.once(f"at/{self.p}/{i}/{size}", lambda: attention_map(pooled_to(f_t, size), self.p))
        return attention_loss(attention_map(pooled_to(f_s, size), self.p), q_t)
