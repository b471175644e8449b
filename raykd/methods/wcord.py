"""Wasserstein Contrastive Representation Distillation (Chen et al., CVPR 2021).

The authors' code was never published and their settings are not known here: the two terms follow
the paper's description, and every value and choice marked "assumed" is ours.
"""

from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from raykd.data import Batch, Data
from raykd.methods.artefact import Artefact
from raykd.methods.method import Method
from raykd.methods.unit import unit
from raykd.models import Output
from raykd.modules.memory_bank import MemoryBank, Negatives


def global_loss(
    positive: Float[Tensor, "B"], negative: Float[Tensor, "B M"], taken: Bool[Tensor, "B M"]
) -> Float[Tensor, ""]:
    """Returns E[g] over pairs of different samples − E[g] over pairs of the same sample.

    This is the negative of the dual form of the Wasserstein distance (Kantorovich and Rubinstein)
    between the joint distribution of (student, teacher) and the product of its marginals, for a
    critic g that is 1-Lipschitz. Both expectations have the same weight (assumed); otherwise a
    constant added to g would change the loss.
    """
    apart = negative.masked_fill(~taken, 0).sum(1) / taken.sum(1)
    return (apart - positive).mean()


@torch.no_grad()
def sinkhorn(
    cost: Float[Tensor, "B B"], regularisation: float, iterations: int
) -> Float[Tensor, "B B"]:
    """Returns the transport plan between uniform marginals (Cuturi, 2013), in the log domain.

    The plan P minimises <P, cost> − regularisation · H(P). Its columns sum to 1/B exactly, its rows
    only as closely as the iterations have converged.
    """
    score = -cost / regularisation
    mass = -log(len(cost))
    v = torch.zeros_like(score[0])
    for _ in range(iterations):
        u = mass - (score + v).logsumexp(1)
        v = mass - (score + u[:, None]).logsumexp(0)
    return (score + u[:, None] + v).exp()


def local_loss(
    z_s: Float[Tensor, "B D"],
    z_t: Float[Tensor, "B D"],
    regularisation: float,
    iterations: int,
) -> Float[Tensor, ""]:
    """Returns <P, C>, the primal form within the batch, with C_ij = 1 − cos(z_s_i, z_t_j).

    It lies in [0, 2]. The cosine is assumed. The plan P is held fixed in the gradient (assumed, as
    is usual for transport losses). The rows of `z_s` and `z_t` have length one.
    """
    cost = 1 - z_s @ z_t.T
    return (sinkhorn(cost, regularisation, iterations) * cost).sum()


class WCoRD(Method):
    """Adds a global term (dual form, memory bank) and a local term (primal form, in a batch).

    Features are embedded linearly and scaled to length one, as in CRD. The critic is
    g(s, t) = t · A s with A spectrally normalised: 1-Lipschitz in either embedding (its form is
    assumed). It is trained with the student: both maximise the same bound. Negatives are read from
    the teacher's bank; a step takes O(B · K + K · features) and the bank 4 · N · features bytes,
    which the paper's method demands.

    Args:
        beta_global: Weight of the global term; assumed (CRD's weight).
        beta_local: Weight of the local term; assumed.
        gamma: Weight of the cross-entropy; 1 as in the CRD benchmark.
        negatives: Number of negatives per sample, drawn from other classes without replacement, at
            most as many as the largest class leaves; assumed (CRD's number).
        features: Width of the embedding; assumed (CRD's width).
        momentum: Share of the old entry in the bank's new one; assumed (CRD's).
        regularisation: Weight of the transport plan's entropy; assumed.
        iterations: Number of iterations of Sinkhorn's algorithm; assumed.
    """

    def __init__(
        self,
        s: Output,
        t: Output,
        *,
        beta_global: float = 0.8,
        beta_local: float = 0.05,
        gamma: float = 1.0,
        negatives: int = 16384,
        features: int = 128,
        momentum: float = 0.5,
        regularisation: float = 0.05,
        iterations: int = 20,
    ) -> None:
        super().__init__(s, t)
        if regularisation <= 0:
            raise ValueError(f"regularisation is {regularisation}; it must be above 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; it must be at least 0 and below 1")
        if min(negatives, features, iterations) < 1:
            raise ValueError(
                f"negatives={negatives}, features={features}, iterations={iterations}:"
                " each must be 1 or more"
            )
        self.beta_global, self.beta_local, self.gamma = beta_global, beta_local, gamma
        self.requested, self.features, self.momentum = negatives, features, momentum
        self.regularisation, self.iterations = regularisation, iterations
        self.embed_s = nn.Linear(s.pooled.shape[1], features)
        self.embed_t = nn.Linear(t.pooled.shape[1], features)
        self.critic = spectral_norm(nn.Linear(features, features, bias=False))

    def prepare(self, teacher: nn.Module, data: Data, artefact: Artefact) -> None:
        """Creates the teacher's bank; a sample's entry is random until the sample is seen.

        Raises:
            ValueError: All samples are of one class.
        """
        weight = self.embed_s.weight
        self.negatives = Negatives(data.targets, self.requested).to(weight.device)
        self.bank = MemoryBank(len(data), self.features, self.momentum).to(weight)

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats), `global` (about within [−2, 2] before its weight) and `local`."""
        z_s, z_t = unit(self.embed_s(s.pooled)), unit(self.embed_t(t.pooled))
        order, taken = self.negatives.draw(batch.target)
        anchor = self.critic(z_s)
        positive, negative = (anchor * z_t).sum(1), anchor @ self.bank.entries[order].T
        self.bank.update(batch.index, z_t)
        local = local_loss(z_s, z_t, self.regularisation, self.iterations)
        return {
            "ce": self.gamma * F.cross_entropy(s.logits, batch.target),
            "global": self.beta_global * global_loss(positive, negative, taken),
            "local": self.beta_local * local,
        }
