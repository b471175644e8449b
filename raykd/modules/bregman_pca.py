"""Extended Bregman PCA (Amid et al., Layerwise Bregman Representation Learning, TMLR 2023)."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from raykd.modules.bregman_layer import BregmanLayer
from raykd.modules.transfer import transfer as find_transfer

Rows = Float[Tensor, "N D"]

NEGLIGIBLE = 1e-12
"""Share of the loss of rank 0 that is left to rounding: a fit below it is exact."""


class ConvergenceWarning(UserWarning):
    """A fit was stopped by its limit of iterations while its loss still fell."""


class BregmanPCA:
    """Represents the outputs y of a layer by few coefficients: y ≈ f(m + V c), VᵀHV = I.

    Minimises the mean over the rows of D_F(m + V c, f⁻¹(y)), where f = ∇F is the layer's transfer
    function and H = ∇²F(m). Each step majorises f' by its largest value and projects on the best
    affine subspace by an SVD, which never raises the loss; Nesterov's extrapolation is dropped
    whenever it would. Works in float64, without randomness; O(N · D² + D³) a step.

    The coefficients are rotated so that their second moments are diagonal and descending, and
    each column of V has its largest entry positive. For `transfer="identity"` this is PCA.

    A direction that (almost) does not change the outputs at the mean can't be brought to length
    one by H, as where a joint mean lies below 0 in units of relu that are active in some rows. It
    is measured as if its slope were `Transfer.flat`; VᵀHV is then below I in that direction.

    Args:
        rank: Number of coefficients, up to D (D − 1 for softmax; D less the units that are always
            0 for relu). Solutions of different ranks are not nested.
        transfer: "identity", "leaky_relu", "sigmoid", "tanh", "elu" or "softmax" (over the
            features); "relu" is an extension that the paper excludes.
        mean: "dual" fixes m = f⁻¹(mean of y), the best mean of rank 0, as in the paper. "joint"
            (ours) finds m with V, and its loss is never above that of "dual".
        slope: Of leaky_relu below zero; 0.01 as in torch.
        tolerance: Stops when three steps in a row lower the loss by less than this share.
        iterations: Stops after this many steps in any case, with a `ConvergenceWarning`.

    Attributes:
        mean_: m (D).
        components_: Vᵀ (rank × D), as in scikit-learn.
        coefficients_: c of the rows given to `fit` (N × rank).
        loss_: Mean loss of these, in nats for sigmoid and softmax.
        losses_: The loss after each step.
        converged_: Whether the loss stood still before the limit of iterations.
        layer_: f(m + V c) as a layer, in float64.

    Raises:
        ValueError: The transfer function is not monotone, or a number is out of range.
    """

    mean_: Float[Tensor, "D"]
    components_: Float[Tensor, "K D"]
    coefficients_: Float[Tensor, "N K"]
    layer_: BregmanLayer
    loss_: float
    losses_: list[float]
    converged_: bool

    def __init__(
        self,
        rank: int,
        transfer: str = "identity",
        mean: str = "dual",
        *,
        slope: float = 0.01,
        tolerance: float = 1e-6,
        iterations: int = 500,
    ) -> None:
        if rank < 1:
            raise ValueError(f"rank is {rank}; it must be at least 1")
        if mean not in ("dual", "joint"):
            raise ValueError(f"mean is {mean!r}; it must be 'dual' or 'joint'")
        self.rank = rank
        self.mean = mean
        self.transfer = find_transfer(transfer, slope)
        self.tolerance = tolerance
        self.iterations = iterations

    @torch.no_grad()
    def fit(self, y: Rows, start: BregmanLayer | None = None) -> "BregmanPCA":
        """Finds m and V for the outputs `y`.

        Args:
            y: A row a sample.
            start: A fit of lower rank to the same rows, to start from if that is the best start:
                the loss then is no higher than its.

        Raises:
            ValueError: `y` can't be outputs of the transfer function, or has too few features.
        """
        y = y.double()
        self.transfer.check(y)
        self._mean = self.transfer.inverse(y.mean(0))
        hessian = self.transfer.hessian(self._mean)
        self._basis = self.transfer.basis(hessian)
        if self._basis.shape[1] == 0:
            raise ValueError(
                f"all {y.shape[1]} features of {self.transfer.name} are 0 in all {len(y)} rows;"
                " there is nothing to represent: leave this layer out"
            )
        if self.rank > self._basis.shape[1]:
            raise ValueError(
                f"rank is {self.rank}; these {y.shape[1]} features of {self.transfer.name} allow"
                f" at most {self._basis.shape[1]}"
            )
        self._entropy = self.transfer.conjugate(y).mean()
        starts = [self._second_order(y, hessian), self._project(self.transfer.inverse(y), False)]
        if start is not None:
            warm = start.mean.double() + start.encode(y) @ start.components.double().T
            if self.mean == "dual":
                warm = self._project(warm, False)
            starts.append(warm)
        self.losses_ = []
        if self.mean == "joint":
            starts = [self._descend(y, starts[:2], joint=False), *starts[2:]]
        theta = self._descend(y, starts, joint=self.mean == "joint")
        self._factor(theta)
        self.loss_ = self._loss(theta, y).item()
        if not self.converged_:
            share = 1 - self.losses_[-1] / self.losses_[-2]
            warnings.warn(
                f"the fit of rank {self.rank} to {self.transfer.name} was stopped after"
                f" {self.iterations} iterations, the last of which still lowered the loss by"
                f" {share:.2g} of it; allow more iterations, or a larger tolerance than"
                f" {self.tolerance:g}",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def transform(self, y: Rows) -> Float[Tensor, "N K"]:
        """Returns the best coefficients of outputs, each row for itself (convex)."""
        return self.layer_.encode(y)

    def fit_transform(self, y: Rows) -> Float[Tensor, "N K"]:
        """Fits, and returns the coefficients of these rows."""
        return self.fit(y).transform(y)

    def inverse_transform(self, c: Float[Tensor, "N K"]) -> Rows:
        """Returns the outputs that coefficients stand for."""
        y: Rows = self.layer_(c.double())
        return y

    def export(self) -> BregmanLayer:
        """Returns the fixed layer f(m + V c), in float32."""
        return BregmanLayer(self.mean_.float(), self.components_.T.float(), self.transfer)

    def _loss(self, theta: Rows, y: Rows) -> Float[Tensor, ""]:
        divergence = self.transfer.potential(theta) - (theta * y).sum(-1)
        return divergence.mean() + self._entropy

    def _second_order(self, y: Rows, hessian: Float[Tensor, "D D"]) -> Rows:
        """The optimum of the loss's expansion at the mean: a PCA weighted by H^(−1/2)."""
        values, vectors = torch.linalg.eigh(self._basis.T @ hessian @ self._basis)
        scale = self._basis @ vectors / values.clamp_min(self.transfer.flat).sqrt()
        residual = y - self.transfer.f(self._mean)
        directions: Tensor = scale @ _leading(residual @ scale, self.rank)
        return self._mean + residual @ directions @ directions.T

    def _project(self, z: Rows, joint: bool) -> Rows:
        """The nearest rows that lie in one affine subspace of the rank."""
        mean = z.mean(0) if joint else self._mean
        directions: Tensor = self._basis @ _leading((z - mean) @ self._basis, self.rank)
        return mean + (z - mean) @ directions @ directions.T

    def _step(self, theta: Rows, y: Rows, joint: bool) -> Rows:
        return self._project(theta - (self.transfer.f(theta) - y) / self.transfer.lipschitz, joint)

    def _descend(self, y: Rows, starts: list[Rows], joint: bool) -> Rows:
        """Majorise–minimise from the best of the starts until the loss stands still."""
        starts = [self._mean.expand_as(y), *starts]
        losses = [self._loss(theta, y) for theta in starts]
        best = min(range(len(starts)), key=lambda i: losses[i].nan_to_num(torch.inf).item())
        theta, loss = starts[best], losses[best].item()
        exact = NEGLIGIBLE * losses[0].item()
        before, momentum, still = theta, 1.0, 0
        self.losses_.append(loss)
        self.converged_ = True
        for _ in range(self.iterations):
            faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = theta + (momentum - 1) / faster * (theta - before)
            new = self._step(ahead, y, joint)
            new_loss = self._loss(new, y).item()
            if not new_loss <= loss:  # restart without momentum
                faster = 1.0
                new = self._step(theta, y, joint)
                new_loss = self._loss(new, y).item()
            if not new_loss < loss:
                break  # down to rounding
            still = still + 1 if loss - new_loss < self.tolerance * abs(loss) else 0
            before, theta, momentum, loss = theta, new, faster, new_loss
            self.losses_.append(loss)
            if still == 3 or loss <= exact:
                break
        else:
            self.converged_ = False
        return theta

    def _factor(self, theta: Rows) -> None:
        """Writes rows of the subspace as m + V c in canonical form."""
        if self.mean == "joint":
            self._mean = theta.mean(0)
        hessian = self.transfer.hessian(self._mean)
        offset = theta - self._mean
        v = self._basis @ _leading(offset @ self._basis, self.rank)
        slopes, axes = torch.linalg.eigh(v.T @ hessian @ v)
        lengths = slopes.clamp_min(self.transfer.flat).sqrt()
        v, c = v @ axes / lengths, offset @ v @ axes * lengths
        # once more where H rules: what is left is the rounding of a squared condition number
        bent = slopes > self.transfer.flat
        lower = torch.linalg.cholesky(v[:, bent].T @ hessian @ v[:, bent])
        v[:, bent] = torch.linalg.solve_triangular(lower, v[:, bent].T, upper=False).T
        c[:, bent] = c[:, bent] @ lower
        rotation = torch.linalg.eigh(c.T @ c).eigenvectors.flip(1)
        v, c = v @ rotation, c @ rotation
        signs = v.gather(0, v.abs().argmax(0, keepdim=True)).sign()
        self.mean_, self.components_ = self._mean, (v * signs).T.contiguous()
        self.coefficients_ = c * signs
        self.layer_ = BregmanLayer(self.mean_, self.components_.T, self.transfer)


def _leading(x: Float[Tensor, "N R"], rank: int) -> Float[Tensor, "R K"]:
    """The right singular vectors of the largest singular values."""
    vectors: Tensor = torch.linalg.eigh(x.T @ x).eigenvectors
    return vectors[:, -rank:]
