"""A part of a teacher that a method asks and doesn't own."""

from itertools import chain
from typing import Any

from torch import nn
from torch.func import functional_call


class Frozen:
    """Calls a module as a constant function: gradients pass through it and stay out of it.

    Not a `torch.nn.Module`, so a method that keeps one has it neither in its parameters nor in its
    state, and every student of a cohort uses the same tensors.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval()

    def __call__(self, *inputs: Any) -> Any:
        """Runs the module."""
        named = chain(self.module.named_parameters(), self.module.named_buffers())
        state = {name: tensor.detach() for name, tensor in named}
        return functional_call(self.module, state, inputs)
