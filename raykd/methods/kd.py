"""Distilling the Knowledge in a Neural Network (Hinton, Vinyals and Dean, 2015)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from raykd.data import Batch
from raykd.methods.method import Method
from raykd.models import Output


def kd_loss(
    y_s: Float[Tensor, "B K"], y_t: Float[Tensor, "B K"], temperature: float
) -> Float[Tensor, ""]:
    """Returns T² · KL(softmax(y_t / T) ‖ softmax(y_s / T)) in nats, the mean over the batch."""
    p_s = F.log_softmax(y_s / temperature, dim=1)
    p_t = F.log_softmax(y_t / temperature, dim=1)
    return F.kl_div(p_s, p_t, reduction="batchmean", log_target=True) * temperature**2


class KD(Method):
    """Trains on soft labels; the defaults are the CRD benchmark's (0.1 CE + 0.9 KD, T = 4).

    Args:
        temperature: Divisor T of the logits, softening both distributions; 4 in the CRD benchmark.
        alpha: Weight of the soft labels; 0.9 in the CRD benchmark.
        gamma: Weight of the cross-entropy; 1 − alpha by default, as in the CRD benchmark.
    """

    def __init__(
        self,
        s: Output,
        t: Output,
        *,
        temperature: float = 4.0,
        alpha: float = 0.9,
        gamma: float | None = None,
    ) -> None:
        super().__init__(s, t)
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; it must be above 0")
        if s.logits.shape[1] != t.logits.shape[1]:
            raise ValueError(
                f"the student has {s.logits.shape[1]} classes and the teacher"
                f" {t.logits.shape[1]}; KD needs the same classes in both"
            )
        self.temperature = temperature
        self.alpha = alpha
        self.gamma = 1 - alpha if gamma is None else gamma

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` and `kd`, both in nats."""
        return {
            "ce": self.gamma * F.cross_entropy(s.logits, batch.target),
            "kd": self.alpha * kd_loss(s.logits, t.logits, self.temperature),
        }
