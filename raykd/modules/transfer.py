"""Transfer functions of layers, with the convex functions that they are the gradients of."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EDGE = 1e-6
"""How far an output is kept from where the inverse is infinite, as in the published layer."""


@dataclass(frozen=True)
class Transfer:
    """A monotone transfer function f = ∇F; all functions take rows, features last.

    F(θ) + F*(y) − <θ, y> is a Bregman divergence: at least 0, and 0 where y = f(θ).

    Attributes:
        name: As in `BregmanPCA(transfer=...)`.
        f: Pre-activations to outputs.
        inverse: Outputs to pre-activations, finite at the edges too.
        slope: f', the diagonal of ∇²F (without softmax's outer product).
        potential: F, summed over the features.
        entropy: F*, summed over the features; by default from `inverse` and `potential`.
        lipschitz: Largest slope of f.
        lowest: Smallest output.
        highest: Largest output.
        negative_slope: Of leaky_relu.
        flat: Slope at a mean below which a direction is measured as if it had this one; by default
            the share `EDGE` of the largest, which the inverse of no output falls below.
    """

    name: str
    f: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    potential: Callable[[Tensor], Tensor]
    entropy: Callable[[Tensor], Tensor] | None = None
    lipschitz: float = 1.0
    lowest: float = -torch.inf
    highest: float = torch.inf
    negative_slope: float = 0.01
    flat: float = EDGE

    def __reduce__(self) -> tuple[Callable[[str, float], "Transfer"], tuple[str, float]]:
        return transfer, (self.name, self.negative_slope)

    def conjugate(self, y: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
        """Returns F* of each row."""
        if self.entropy is not None:
            return self.entropy(y)
        theta = self.inverse(y)
        return (y * theta).sum(-1) - self.potential(theta)

    def loss(self, theta: Float[Tensor, "N D"], y: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
        """Returns the matching loss of each row; its gradient in theta is f(theta) − y."""
        return self.potential(theta) + self.conjugate(y) - (theta * y).sum(-1)

    def hessian(self, theta: Float[Tensor, "D"]) -> Float[Tensor, "D D"]:
        """Returns ∇²F at one point."""
        slope = self.slope(theta)
        return slope.diag() - slope.outer(slope) if self.name == "softmax" else slope.diag()

    def basis(self, hessian: Float[Tensor, "D D"]) -> Float[Tensor, "D R"]:
        """Returns an orthonormal basis of the directions that change the outputs."""
        d = len(hessian)
        identity = torch.eye(d, dtype=hessian.dtype, device=hessian.device)
        if self.name == "softmax":  # a constant added to all changes nothing
            vectors: Tensor = torch.linalg.eigh(identity - 1 / d).eigenvectors
            return vectors[:, 1:]
        return identity[:, hessian.diagonal() > 0]

    def check(self, y: Float[Tensor, "N D"]) -> None:
        """Checks that `y` can be outputs of f.

        Raises:
            ValueError: They can't.
        """
        if not y.isfinite().all():
            raise ValueError("the outputs to represent are not all finite")
        low, high = y.min().item(), y.max().item()
        if low < self.lowest - EDGE or high > self.highest + EDGE:
            raise ValueError(
                f"outputs lie in [{low:.4g}, {high:.4g}]; those of {self.name} lie in"
                f" [{self.lowest:g}, {self.highest:g}]. Name the layer's own transfer function, or"
                " 'identity' for a layer without one"
            )
        worst = (y.sum(-1) - 1).abs().max().item()
        if self.name == "softmax" and worst > 1e-4:
            raise ValueError(
                f"a row of outputs sums to 1 ± {worst:.4g}; those of softmax are probabilities."
                " Apply the softmax to logits first"
            )


def _identity(x: Tensor) -> Tensor:
    return x


def _softplus(x: Tensor) -> Tensor:
    return x.clamp_min(0) + (-x.abs()).exp().log1p()


def _elu_potential(x: Tensor) -> Tensor:
    negative = x.clamp_max(0)
    return (x.clamp_min(0).square() / 2 + negative.expm1() - negative).sum(-1)


def _elu_entropy(y: Tensor) -> Tensor:
    below = 1 + y.clamp(-1, 0)
    return (y.clamp_min(0).square() / 2 + torch.xlogy(below, below) - below + 1).sum(-1)


def _centred_log(y: Tensor) -> Tensor:
    logs = y.clamp_min(EDGE).log()
    return logs - logs.mean(-1, keepdim=True)


TRANSFERS = (
    Transfer(
        "identity",
        f=_identity,
        inverse=_identity,
        slope=torch.ones_like,
        potential=lambda x: x.square().sum(-1) / 2,
    ),
    Transfer(
        "relu",
        f=torch.relu,
        inverse=_identity,  # one of several
        slope=lambda x: (x > 0).to(x),
        potential=lambda x: x.relu().square().sum(-1) / 2,
        lowest=0.0,
        flat=0.01,  # units that are off at a joint mean are on in some rows: no length above 10
    ),
    Transfer(
        "sigmoid",
        f=torch.sigmoid,
        inverse=lambda y: y.logit(EDGE),
        slope=lambda x: x.sigmoid() * (-x).sigmoid(),
        potential=lambda x: _softplus(x).sum(-1),
        entropy=lambda y: (torch.xlogy(y, y) + torch.xlogy(1 - y, 1 - y)).sum(-1),
        lipschitz=0.25,
        flat=0.25 * EDGE,
        lowest=0.0,
        highest=1.0,
    ),
    Transfer(
        "tanh",
        f=torch.tanh,
        inverse=lambda y: y.clamp(EDGE - 1, 1 - EDGE).atanh(),
        slope=lambda x: 1 - x.tanh().square(),
        potential=lambda x: (_softplus(2 * x) - x - log(2)).sum(-1),  # ln cosh
        entropy=lambda y: (torch.xlogy(1 + y, 1 + y) + torch.xlogy(1 - y, 1 - y)).sum(-1) / 2,
        lowest=-1.0,
        highest=1.0,
    ),
    Transfer(
        "elu",
        f=F.elu,
        inverse=lambda y: torch.where(y >= 0, y, y.clamp(EDGE - 1, 0).log1p()),
        slope=lambda x: x.clamp_max(0).exp(),
        potential=_elu_potential,
        entropy=_elu_entropy,
        lowest=-1.0,
    ),
    Transfer(
        "softmax",
        f=lambda x: x.softmax(-1),
        inverse=_centred_log,
        slope=lambda x: x.softmax(-1),
        potential=lambda x: x.logsumexp(-1),
        entropy=lambda y: torch.xlogy(y, y).sum(-1),
        lipschitz=0.5,
        flat=0.5 * EDGE,
        lowest=0.0,
        highest=1.0,
    ),
)
"""All but leaky_relu, which has a parameter.

ReLU does not increase strictly, so the paper excludes it; its F = relu(θ)²/2 and F* = y²/2 still
give a loss that is 0 exactly where relu(θ) = y. Softmax's loss is KL(y ‖ f(θ)) in nats.
"""


def leaky_relu(slope: float) -> Transfer:
    """Returns f(θ) = θ above 0 and slope · θ below.

    Raises:
        ValueError: The slope is not above 0.
    """
    if slope <= 0:
        raise ValueError(
            f"the slope of leaky_relu is {slope}; it must be above 0, where the function increases"
            " strictly (see 'relu' for 0)"
        )
    return Transfer(
        "leaky_relu",
        f=lambda x: F.leaky_relu(x, slope),
        inverse=lambda y: F.leaky_relu(y, 1 / slope),
        slope=lambda x: torch.where(x >= 0, torch.ones_like(x), torch.full_like(x, slope)),
        potential=lambda x: torch.where(x >= 0, x.square(), slope * x.square()).sum(-1) / 2,
        lipschitz=max(1.0, slope),
        negative_slope=slope,
        flat=min(EDGE, slope),
    )


def transfer(name: str, slope: float = 0.01) -> Transfer:
    """Returns the transfer function `name`; `slope` is leaky_relu's below zero.

    Raises:
        ValueError: It is unknown, or does not increase.
    """
    known = {one.name: one for one in (*TRANSFERS, leaky_relu(slope))}
    if name not in known:
        raise ValueError(
            f"transfer is {name!r}; it must be monotone: one of {', '.join(sorted(known))} (gelu,"
            " silu and mish fall before they rise, so no convex function has them as gradient)"
        )
    return known[name]
