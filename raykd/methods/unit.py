"""Scaling of vectors to length one, with a bounded gradient for those that are (almost) zero."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALLEST = 1e-8
"""Length up to which a vector counts as zero and has no direction."""

SHORT = 1e-3
"""Share of the mean length below which a vector's gradient is reduced, see `bounded`."""


def unit(
    x: Float[Tensor, "*shape"], dim: int | tuple[int, ...] = 1, smallest: float = SMALLEST
) -> Float[Tensor, "*shape"]:
    """Returns `x` divided by its L2 norm along `dim`.

    A vector of (almost) no length is returned as it is;
    `torch.nn.functional.normalize` multiplies it and its gradient by 1e12. Other vectors get the
    same bits from both. The gradient of short vectors is bounded, see `bounded`.

    Args:
        x: Vectors along `dim`.
        dim: Dimension (or dimensions) along which the vectors lie.
        smallest: Length up to which a vector counts as zero.
    """
    if x.requires_grad:
        x = bounded(x, torch.linalg.vector_norm(x.detach(), dim=dim, keepdim=True))
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / torch.where(norm > smallest, norm, 1.0)


def bounded(x: Float[Tensor, "*shape"], length: Float[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """Returns `x` itself, with a reduced gradient for vectors that are short beside the others.

    Dividing a vector by its length gives a gradient of 1 / length, so that a sample without
    direction would pull a network as much as all others together. Below `SHORT` times the mean
    length, the gradient is multiplied by (length / (`SHORT` times the mean length))², so that it
    falls to 0 with the length and stays below that of a vector of `SHORT` times the mean length.

    Args:
        x: Vectors that are going to be divided by their length.
        length: Their lengths, with size 1 in the dimensions that they were taken over.
    """
    length = length.detach()
    least = (SHORT * length.mean()).clamp_min(torch.finfo(x.dtype).tiny)
    share = (length / least).clamp_max(1).square()
    return x.detach() + share * (x - x.detach())


def has_direction(x: Float[Tensor, "B *shape"]) -> Bool[Tensor, "B"]:
    """Returns for each sample True if it is longer than `SMALLEST`, and so has a direction."""
    norm: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norm > SMALLEST
