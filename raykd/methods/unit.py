"""Rows and maps of length one, with a bounded gradient where there is nothing to normalise."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALLEST = 1e-8
"""A length up to this counts as zero: the vector then has no direction."""

SHORT = 1e-3
"""A vector below this share of the mean length gets less gradient than its direction has."""


def unit(
    x: Float[Tensor, "*shape"], dim: int | tuple[int, ...] = 1, smallest: float = SMALLEST
) -> Float[Tensor, "*shape"]:
    """Returns `x` over its L2 norm along `dim`.

    A vector of (almost) no length is returned as it is, where
    `torch.nn.functional.normalize` multiplies it and its gradient by 1e12. Other vectors get the
    same bits from both. The gradient of short vectors is bounded, see `bounded`.

    Args:
        x: Vectors along `dim`.
        dim: Where the vectors lie.
        smallest: A length up to this counts as zero.
    """
    if x.requires_grad:
        x = bounded(x, torch.linalg.vector_norm(x.detach(), dim=dim, keepdim=True))
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / torch.where(norm > smallest, norm, 1.0)


def bounded(x: Float[Tensor, "*shape"], length: Float[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """Returns `x` itself, with less gradient for vectors that are short beside the others.

    What divides a vector by its length has a gradient of 1 / length: a sample without direction
    would pull a network as much as all others together. Below `SHORT` of the mean length, the
    gradient is multiplied by the square of (length / that), so that it falls to 0 with the length
    and stays below that of a vector of `SHORT` times the mean length.

    Args:
        x: What is going to be divided by its length.
        length: The lengths, with 1 in the place of the dimensions that they were taken over.
    """
    length = length.detach()
    least = (SHORT * length.mean()).clamp_min(torch.finfo(x.dtype).tiny)
    share = (length / least).clamp_max(1).square()
    return x.detach() + share * (x - x.detach())


def has_direction(x: Float[Tensor, "B *shape"]) -> Bool[Tensor, "B"]:
    """Says of each sample whether it is long enough for a direction."""
    norm: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norm > SMALLEST
