"""A stage of a residual network: a sequence of blocks with a non-linearity after each."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Stage(nn.Sequential):
    """A sequence of blocks whose non-linearity is applied by the stage instead of the block.

    So the last map is available both before and after its non-linearity.

    Args:
        blocks: The blocks, first to last.
        activation: The non-linearity after each block. It must not work in place, since the map
            before it is returned too.
    """

    def __init__(self, *blocks: nn.Module, activation: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__(*blocks)
        self.activation = activation

    def forward(
        self, x: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B D h w"]]:
        """Returns the last block's map after the non-linearity, and the same map before it."""
        preact = x
        for block in self:
            preact = block(x)
            x = self.activation(preact)
        return x, preact
