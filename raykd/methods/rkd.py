"""Relational Knowledge Distillation (Park et al., CVPR 2019)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from raykd.data import Batch
from raykd.methods.method import Method
from raykd.methods.unit import SHORT, SMALLEST
from raykd.models import Output


def distances(z: Float[Tensor, "B D"]) -> Float[Tensor, "B B"]:
    """Returns ψ_D, the distances of all pairs divided by their mean (section 3.2.1).

    The distance of equal rows is 0, with a gradient of 0.
    """
    psi = _euclidean(z)
    mean = psi.sum() / max(1, len(z) * (len(z) - 1))
    return psi / torch.where(mean > SMALLEST, mean, 1.0)


def angles(z: Float[Tensor, "B D"]) -> Float[Tensor, "B B B"]:
    """Returns ψ_A, the cosine of the angle at the first index between the others (section 3.2.2).

    It is computed from the Gram matrix, so that no tensor of B² · D numbers is kept. An angle with
    two equal rows has a cosine of (almost) 0. Rows that are nearer to each other than `SHORT` times
    the mean distance give no gradient, because their direction is only rounding.
    """
    z = z - z.mean(0)
    gram = z @ z.T
    sides = _euclidean(z)
    apart = sides.detach() > SHORT * sides.detach().mean()
    sides = torch.where(sides > SMALLEST, sides, 1.0)
    own = gram.diagonal()[:, None, None]
    products = gram[None] - gram[:, :, None] - gram[:, None] + own
    cosines = products / (sides[:, :, None] * sides[:, None])
    return torch.where(apart[:, :, None] & apart[:, None], cosines, cosines.detach())


def relation_loss(
    psi_s: Float[Tensor, "*shape"], psi_t: Float[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """Returns the mean Huber loss l_δ of two potentials (a mean as in the CRD benchmark)."""
    return F.smooth_l1_loss(psi_s, psi_t)


class RKD(Method):
    """Matches distances of pairs and angles of triples of samples, on pooled features.

    The angles of all triples take O(B³) memory, which the method itself demands. In a batch of two
    samples both terms are 0.

    Args:
        beta_distance: Weight of the distances; 25 in the CRD benchmark.
        beta_angle: Weight of the angles; 50 in the CRD benchmark.
    """

    def __init__(
        self, s: Output, t: Output, *, beta_distance: float = 25.0, beta_angle: float = 50.0
    ) -> None:
        super().__init__(s, t)
        self.beta_distance = beta_distance
        self.beta_angle = beta_angle

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns `ce` (nats), `distance` and `angle`."""
        psi_d, psi_a = t.once("rkd", lambda: (distances(t.pooled), angles(t.pooled)))
        return {
            "ce": F.cross_entropy(s.logits, batch.target),
            "distance": self.beta_distance * relation_loss(distances(s.pooled), psi_d),
            "angle": self.beta_angle * relation_loss(angles(s.pooled), psi_a),
        }


def _euclidean(z: Float[Tensor, "B D"]) -> Float[Tensor, "B B"]:
    """Returns the distances of all pairs of rows.

    They are not computed from a Gram matrix, which would leave a distance between equal rows.
    """
    return torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
