"""What a model returns, and what raykd asks of a model."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

T = TypeVar("T")


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns a tensor of 16 bits as float32, and any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@dataclass(frozen=True, eq=False)
class Output:
    """What a model says about a batch of B samples.

    Attributes:
        logits: Class scores before the softmax.
        stages: The map after each stage, first to last, as the next stage receives it.
        pooled: The penultimate features, which `head` turns into `logits`.
        preacts: `stages` before their last non-linearity, where the family has them (ReviewKD).
    """

    logits: Float[Tensor, "B K"]
    stages: tuple[Float[Tensor, "B ..."], ...]
    pooled: Float[Tensor, "B D"]
    preacts: tuple[Float[Tensor, "B ..."], ...] = ()
    _memo: dict[str, object] = field(default_factory=dict, repr=False)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Returns what `make` gave the first time that `key` was asked of this output.

        A cohort shows one teacher's output to all its students, so what depends on the teacher
        alone (a Gram matrix, say) is computed for the first and kept for the others. `key` names
        the method and every number that the value depends on.
        """
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]  # type: ignore[return-value]

    def at_least_float32(self) -> "Output":
        """Returns itself, or where a tensor has 16 bits a copy with float32 in their place."""
        tensors = (self.logits, self.pooled, *self.stages, *self.preacts)
        if all(at_least_float32(tensor) is tensor for tensor in tensors):
            return self
        return self.map(at_least_float32)

    def map(self, f: Callable[[Tensor], Tensor]) -> "Output":
        """Returns an output with `f` applied to every tensor."""
        return replace(
            self,
            logits=f(self.logits),
            stages=tuple(map(f, self.stages)),
            pooled=f(self.pooled),
            preacts=tuple(map(f, self.preacts)),
            _memo={},
        )


@runtime_checkable
class Model(Protocol):
    """A `torch.nn.Module` that raykd can use as a teacher or a student.

    A factory makes it from the keyword arguments `num_classes` and `in_channels`.
    """

    @property
    def head(self) -> nn.Module:
        """Turns `Output.pooled` into `logits`: a frozen teacher's need no second pass."""

    def __call__(self, input: Float[Tensor, "B C H W"], /) -> Output:
        """Runs the network."""
