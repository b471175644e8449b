"""A low-rank representation of a layer, exported as a fixed layer with its non-linearity."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raykd.modules.transfer import Transfer

CHUNK = 4096
"""Rows that are encoded at a time: each needs a matrix of rank by rank."""


class BregmanLayer(nn.Module):
    """Coefficients to outputs: y = f(mean + components · c). Nothing in it is trained.

    Args:
        mean: m, a pre-activation.
        components: V, orthonormal in the geometry at the mean: VᵀHV = I.
        transfer: f.
    """

    mean: Float[Tensor, "D"]
    components: Float[Tensor, "D K"]

    def __init__(
        self, mean: Float[Tensor, "D"], components: Float[Tensor, "D K"], transfer: Transfer
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.transfer = transfer

    def preactivation(self, c: Float[Tensor, "N K"]) -> Float[Tensor, "N D"]:
        """Returns θ = m + V c."""
        return self.mean + c @ self.components.T

    def forward(self, c: Float[Tensor, "N K"]) -> Float[Tensor, "N D"]:
        """Returns the outputs that the coefficients stand for."""
        return self.transfer.f(self.preactivation(c))

    def loss(self, c: Float[Tensor, "N K"], y: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
        """Returns the divergence of each row's outputs from `y`: convex in `c`."""
        return self.transfer.loss(self.preactivation(c), y)

    @torch.no_grad()
    def encode(self, y: Float[Tensor, "N D"], iterations: int = 50) -> Float[Tensor, "N K"]:
        """Returns the coefficients with the least loss, in float64.

        Damped Newton from zero with a line search a row. Where the outputs are saturated the best
        coefficients are infinite; the number of iterations bounds them.
        """
        mean, components = self.mean.double(), self.components.double()
        exact = BregmanLayer(mean, components, self.transfer)
        rows = [exact._solve(chunk.double(), iterations) for chunk in y.split(CHUNK)]
        return torch.cat(rows)

    def _solve(self, y: Float[Tensor, "N D"], iterations: int) -> Float[Tensor, "N K"]:
        k = self.components.shape[1]
        c = y.new_zeros(len(y), k)
        loss = self.loss(c, y)
        scale = loss + self.transfer.conjugate(y).abs()  # what the loss is rounded by
        damping = 1e-6 * torch.eye(k).to(y)
        for _ in range(iterations):
            theta = self.preactivation(c)
            gradient = (self.transfer.f(theta) - y) @ self.components
            newton = torch.linalg.solve(self._curvature(theta) + damping, gradient)
            decrement = (gradient * newton).sum(1)
            if (decrement <= 1e-18 * scale).all():
                break
            near = decrement <= 1e-10 * scale  # the full step is safe, and below rounding
            step = torch.ones_like(loss)
            for _ in range(40):
                trial = self.loss(c - step[:, None] * newton, y)
                worse = ~near & ~(trial <= loss)
                if not worse.any():
                    break
                step = torch.where(worse, step / 2, step)
            better = near | (trial <= loss)
            c = torch.where(better[:, None], c - step[:, None] * newton, c)
            loss = torch.where(better, trial, loss)
        return c

    def _curvature(self, theta: Float[Tensor, "N D"]) -> Float[Tensor, "N K K"]:
        """Vᵀ ∇²F(θ) V of each row."""
        d, k = self.components.shape
        pairs = (self.components[:, :, None] * self.components[:, None, :]).reshape(d, k * k)
        slope = self.transfer.slope(theta)
        curvature = (slope @ pairs).reshape(-1, k, k)
        if self.transfer.name == "softmax":
            mean = slope @ self.components
            curvature = curvature - mean[:, :, None] * mean[:, None, :]
        return curvature
