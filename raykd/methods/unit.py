"""Rows and maps of length one, with a bounded gradient where there is nothing to normalise."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALLEST = 1e-8
"""A length up to this counts as zero: the vector then has no direction."""


def unit(x: Float[Tensor, "*shape"], dim: int | tuple[int, ...] = 1) -> Float[Tensor, "*shape"]:
    """Returns `x` over its L2 norm along `dim`.

    A vector of (almost) no length is returned as it is, so that its gradient is that of the
    identity. `torch.nn.functional.normalize` multiplies it by 1e12 instead. Other vectors get the
    same bits from both.
    """
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / torch.where(norm > SMALLEST, norm, 1.0)


def has_direction(x: Float[Tensor, "B *shape"]) -> Bool[Tensor, "B"]:
    """Says of each sample whether it is long enough for a direction."""
    norm: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norm > SMALLEST
