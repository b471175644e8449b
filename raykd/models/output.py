"""The output of a model, and the protocol that a model must follow."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

T = TypeVar("T")


def at_least_float32(tensor: Tensor) -> Tensor:
    """Converts a float16 or bfloat16 tensor to float32; returns any other tensor unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@dataclass(frozen=True, eq=False)
class Output:
    """Logits and features that a model returns for a batch of B samples.

    Attributes:
        logits: Class scores before the softmax.
        stages: Feature map after each stage, first to last, as the next stage receives it.
        pooled: Penultimate features, which `head` turns into `logits`.
        preacts: The maps in `stages` before their last non-linearity (for ReviewKD); empty if the
            model family has none.
    """

    logits: Float[Tensor, "B K"]
    stages: tuple[Float[Tensor, "B ..."], ...]
    pooled: Float[Tensor, "B D"]
    preacts: tuple[Float[Tensor, "B ..."], ...] = ()
    _memo: dict[str, object] = field(default_factory=dict, repr=False)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Returns the result of `make`, which is called once for each `key` and then cached.

        All students of a cohort receive the same teacher output, so a value that depends on the
        teacher alone (a Gram matrix, say) is computed for the first student and reused for the
        others. `key` must name the method and every number that the value depends on.
        """
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]  # type: ignore[return-value]

    def at_least_float32(self) -> "Output":
        """Returns a copy with 16-bit tensors converted to float32, or itself if there are none."""
        tensors = (self.logits, self.pooled, *self.stages, *self.preacts)
        if all(at_least_float32(tensor) is tensor for tensor in tensors):
            return self
        return self.map(at_least_float32)

    def map(self, f: Callable[[Tensor], Tensor]) -> "Output":
        """Returns an output with `f` applied to every tensor, and with an empty cache."""
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

    Its factory takes the keyword arguments `num_classes` and `in_channels`.
    """

    @property
    def head(self) -> nn.Module:
        """The module that turns `Output.pooled` into `logits`.

        With it a frozen teacher's logits are computed from its features, without a second pass of
        the network.
        """

    def __call__(self, input: Float[Tensor, "B C H W"], /) -> Output:
        """Runs the network on a batch of images."""
