"""Overcoming Limitations of Noise-engineered Data-free KD (Raikwar and Mishra, NeurIPS 2022)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raykd.data import Batch, Data
from raykd.methods.artefact import Artefact
from raykd.methods.method import Method
from raykd.models import Output
from raykd.modules.batch_statistics import on_batch_statistics


def soft_cross_entropy(y_s: Float[Tensor, "B K"], y_t: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """Returns −Σ softmax(y_t) ln softmax(y_s) in nats, the mean over the batch.

    It is at least the entropy of the teacher's answers.
    """
    return -(y_t.softmax(1) * y_s.log_softmax(1)).sum(1).mean()


class Noise(Method):
    """Trains the student on the teacher's answers to noise, without labels and without data.

    Use it with `raykd.data.noise.Noise`. The teacher's batch norms use the statistics of the noise
    batch, which undoes the shift that noise causes in its hidden layers; its buffers stay as they
    are. The answers on running statistics, which the training loop has computed, are not used: this
    method costs a second teacher pass per batch, which a cohort shares. The statistics are those of
    one worker's batch, so keep at least 128 samples in it.

    The student's own running statistics become those of noise. To avoid that, use `recalibrated`
    or `AnswersOnBatchStatistics` of `raykd.modules.batch_statistics`.

    Args:
        fraction: Share of the teacher's batch norm layers, from the input on, that use the batch's
            statistics. 1 is published; less is the paper's ablation (that it takes the layers
            from the input on is assumed).
    """

    def __init__(self, s: Output, t: Output, *, fraction: float = 1.0) -> None:
        super().__init__(s, t)
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction is {fraction}; it is a share of layers, in [0, 1]")
        if s.logits.shape[1] != t.logits.shape[1]:
            raise ValueError(
                f"the student has {s.logits.shape[1]} classes and the teacher"
                f" {t.logits.shape[1]}; the student learns the teacher's answers, so give both the"
                " same"
            )
        self.fraction = fraction

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Makes a twin of the teacher that uses batch statistics.

        Raises:
            ValueError: The teacher has no batch norm.
        """
        # in a tuple, so that the teacher is no part of the method's state
        self.teacher = (on_batch_statistics(teacher, self.fraction).eval(),)

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `noise`, the cross-entropy with the teacher's answers, in nats."""
        return {"noise": soft_cross_entropy(s.logits, self._answers(t, batch))}

    def _answers(self, t: Output, batch: Batch) -> Float[Tensor, "B K"]:
        def make() -> Tensor:
            with torch.no_grad():
                output: Output = self.teacher[0](batch.input)
            return output.logits.to(t.logits)

        return t.once(f"noise {self.fraction}", make)
