"""Like What You Like: Knowledge Distill via Neuron Selectivity Transfer (Huang and Wang, 2017)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from raykd.data import Batch
from raykd.methods.maps import common_size, pooled_to, stage_pairs
from raykd.methods.method import Method
from raykd.methods.unit import unit
from raykd.models import Output


def selectivity(f: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H*W"]:
    """Returns each channel's map, flattened and scaled to length one."""
    return unit(f.flatten(2), dim=2)


def polynomial_kernel(
    f_a: Float[Tensor, "B Ca L"], f_b: Float[Tensor, "B Cb L"]
) -> Float[Tensor, ""]:
    """Returns the mean over samples and pairs of channels of (f_a · f_b)² (degree 2, c = 0).

    Σ (f_a · f_b)² = ‖F_a F_bᵀ‖² = ⟨F_aᵀ F_a, F_bᵀ F_b⟩: the smaller of the last two forms is
    computed, which needs no more memory than the maps (every pair of maps at once would be 17 GB
    for the last stage of a ResNet-50 and 64 samples).
    """
    (samples, c_a, length), c_b = f_a.shape, f_b.shape[1]
    if c_a * c_b <= length * length:
        total = (f_a @ f_b.mT).square().sum()
    else:
        total = ((f_a.mT @ f_a) * (f_b.mT @ f_b)).sum()
    return total / (samples * c_a * c_b)


def mmd_loss(
    f_s: Float[Tensor, "B Cs L"],
    f_t: Float[Tensor, "B Ct L"],
    k_tt: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Returns L_MMD², the squared maximum mean discrepancy; `k_tt` is the teacher's kernel mean."""
    return k_tt + polynomial_kernel(f_s, f_s) - 2 * polynomial_kernel(f_s, f_t)


class NST(Method):
    """Matches, at every stage, the distributions of the channels' normalised maps.

    The larger map is averaged to the size of the smaller.

    Args:
        beta: Weight of the sum over the stages; 50 in the CRD benchmark.
    """

    def __init__(self, s: Output, t: Output, *, beta: float = 50.0) -> None:
        super().__init__(s, t)
        stage_pairs(s, t)
        self.beta = beta

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats) and `mmd`."""
        pairs = reversed(stage_pairs(s, t))
        losses = [_pair(i, f_s, f_t, t) for i, (f_s, f_t) in enumerate(pairs)]
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "mmd": self.beta * sum(losses, s.logits.new_zeros(())),
        }


def _pair(i: int, f_s: Tensor, f_t: Tensor, t: Output) -> Tensor:
    """Returns the loss of one pair of maps.

    `i` counts from the last stage, so that it names the same map of the teacher for every student:
    `t.once` shares the teacher's side by that key.
    """
    size = common_size(f_s, f_t)

    def teacher_side() -> tuple[Tensor, Tensor]:
        maps = selectivity(pooled_to(f_t, size))
        return maps, polynomial_kernel(maps, maps)

    maps_t, k_tt = t.once(f"nst/{i}/{size}", teacher_side)
    return mmd_loss(selectivity(pooled_to(f_s, size)), maps_t, k_tt)
