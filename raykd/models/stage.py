"""Blocks in a row with a non-linearity after each: what residual families call a stage."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Stage(nn.Sequential):
    """Blocks that return their map before the non-linearity, which the stage applies.

    Args:
        blocks: The blocks, first to last.
        activation: The non-linearity after each block; not in place, since both sides are kept.
    """

    def __init__(self, *blocks: nn.Module, activation: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__(*blocks)
        self.activation = activation

    def forward(
        self, x: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B D h w"]]:
        """Returns the map after the last block's non-linearity and the same before it."""
        preact = x
        for block in self:
            preact = block(x)
            x = self.activation(preact)
        return x, preact
