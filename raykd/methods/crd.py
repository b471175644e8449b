"""Contrastive Representation Distillation (Tian, Krishnan and Isola, ICLR 2020)."""

from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from raykd.data import Batch, Data
from raykd.methods.artefact import Artefact
from raykd.methods.method import Method
from raykd.methods.unit import unit
from raykd.models import Output
from raykd.modules.memory_bank import MemoryBank, Negatives


def log_partition(
    positive: Float[Tensor, "B"],
    negative: Float[Tensor, "B M"],
    taken: Bool[Tensor, "B M"],
    samples: int,
) -> Float[Tensor, ""]:
    """Returns ln Z; Z is `samples` times the mean of exp(score) over positives and negatives."""
    scores = torch.cat([positive[:, None], negative.masked_fill(~taken, -torch.inf)], 1)
    count = (taken.sum() + len(positive)).to(scores)
    return scores.flatten().logsumexp(0) - count.log() + log(samples)


def nce_loss(
    positive: Float[Tensor, "B"],
    negative: Float[Tensor, "B M"],
    taken: Bool[Tensor, "B M"],
    log_noise: float,
) -> Float[Tensor, ""]:
    """Returns −Σ ln h(positive) − Σ ln(1 − h(negative)) in nats, the mean over the batch.

    Here h = P / (P + K/N) with P = exp(score) / Z. ln Z has been subtracted from the scores
    already; `log_noise` is ln(K/N). h is a sigmoid of the difference, so nothing overflows and no
    epsilon is needed.
    """
    negatives = F.logsigmoid(log_noise - negative).masked_fill(~taken, 0).sum(1)
    return -(F.logsigmoid(positive - log_noise) + negatives).mean()


class CRD(Method):
    """Contrasts each embedding with entries of its sample and of other classes in memory banks.

    Student and teacher features are embedded linearly and scaled to length one. Each side is the
    anchor once, against the other side's bank. The two banks take 8 · N · features bytes (51 MB on
    CIFAR). A step takes O(B · K + K · features), of which the paper's method demands the first
    term; the published code takes O(B · K · features).

    Args:
        beta: Weight of the contrastive loss; 0.8 in the CRD benchmark.
        gamma: Weight of the cross-entropy; 1 in the CRD benchmark.
        temperature: Divisor of the cosine; 0.07 in the published code (the paper's text says 0.1).
        negatives: Number K of negatives per sample, drawn from other classes without replacement
            ("exact" mode); 16384 in the CRD benchmark. If fewer samples lie outside the largest
            class, K is their number.
        features: Width of the embedding; 128 in the CRD benchmark.
        momentum: Share of the old entry in the bank's new one; 0.5 in the CRD benchmark.
    """

    log_z: Float[Tensor, "2"]

    def __init__(
        self,
        s: Output,
        t: Output,
        *,
        beta: float = 0.8,
        gamma: float = 1.0,
        temperature: float = 0.07,
        negatives: int = 16384,
        features: int = 128,
        momentum: float = 0.5,
    ) -> None:
        super().__init__(s, t)
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; it must be above 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; it must be at least 0 and below 1")
        if min(negatives, features) < 1:
            raise ValueError(f"negatives={negatives}, features={features}: each must be 1 or more")
        self.beta, self.gamma, self.temperature = beta, gamma, temperature
        self.requested, self.features, self.momentum = negatives, features, momentum
        self.embed_s = nn.Linear(s.pooled.shape[1], features)
        self.embed_t = nn.Linear(t.pooled.shape[1], features)
        self.register_buffer("log_z", torch.full((2,), torch.nan))  # ln Z per anchor (s, t)

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Creates the banks; a sample's entry is random until the sample is seen.

        Raises:
            ValueError: All samples are of one class.
        """
        weight = self.embed_s.weight
        self.negatives = Negatives(data.targets, self.requested).to(weight.device)
        self.bank_s = MemoryBank(len(data), self.features, self.momentum).to(weight)
        self.bank_t = MemoryBank(len(data), self.features, self.momentum).to(weight)

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` and `crd`, both in nats; `crd` sums both anchors.

        The first batch fixes Z. The banks are updated with the batch after the loss is computed.
        """
        z_s, z_t = unit(self.embed_s(s.pooled)), unit(self.embed_t(t.pooled))
        order, taken = self.negatives.draw(batch.target)
        loss = self._contrast(0, z_s, self.bank_t, batch, order, taken)
        loss = loss + self._contrast(1, z_t, self.bank_s, batch, order, taken)
        self.bank_s.update(batch.index, z_s)
        self.bank_t.update(batch.index, z_t)
        return {
            "ce": self.gamma * F.cross_entropy(s.logits, batch.target),
            "crd": self.beta * loss,
        }

    def _contrast(
        self,
        anchor: int,
        z: Float[Tensor, "B D"],
        bank: MemoryBank,
        batch: Batch,
        order: Tensor,
        taken: Bool[Tensor, "B M"],
    ) -> Float[Tensor, ""]:
        """Returns the loss with `z` as the anchor (0: student, 1: teacher) against `bank`."""
        positive = (z * bank.entries[batch.index]).sum(1) / self.temperature
        negative = z @ bank.entries[order].T / self.temperature
        samples = len(bank.entries)
        with torch.no_grad():
            first = log_partition(positive, negative, taken, samples)
            known = self.log_z[anchor]
            log_z = torch.where(known.isnan(), first, known)
            self.log_z[anchor] = log_z
        log_noise = log(self.negatives.count / samples)
        return nce_loss(positive - log_z, negative - log_z, taken, log_noise)
