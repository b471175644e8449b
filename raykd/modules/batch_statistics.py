"""Batch norm on the statistics of the batch at hand, with the running ones left alone."""

import copy
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

M = TypeVar("M", bound=nn.Module)


class BatchStatisticsNorm(nn.Module):
    """Normalises with the batch's own mean and variance in both modes, and moves no buffer.

    Args:
        norm: The batch norm whose weight and bias it shares.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, input: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Normalises each channel; one that has a single value becomes its bias."""
        weight, bias = self.weight, self.bias
        # not F.batch_norm, which refuses a single value a channel
        return torch.batch_norm(
            input, weight, bias, None, None, True, 0.0, self.eps, torch.backends.cudnn.enabled
        )


def batch_norms(model: nn.Module) -> list[str]:
    """Names of the batch norm layers, in the order of definition."""
    return [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]


def on_batch_statistics(model: M, fraction: float = 1.0) -> M:
    """Returns a twin of `model` whose first batch norms use the batch's statistics.

    The twin shares all tensors with `model` and changes none of its buffers.

    Args:
        model: A network with batch norm.
        fraction: Share of the batch norm layers, from the input on; the others stay as they are.

    Raises:
        ValueError: There is no batch norm in it, or the fraction is not in [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of batch norm layers is {fraction}; it must be in [0, 1]")
    names = batch_norms(model)
    if not names:
        raise ValueError(
            f"{type(model).__name__} has no batch norm, so batch statistics change nothing in it;"
            " choose a network with nn.BatchNorm layers"
        )
    shared: dict[int, Tensor] = {id(x): x for x in chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, shared)
    for name in names[: round(fraction * len(names))]:
        norm = twin.get_submodule(name)
        assert isinstance(norm, _BatchNorm)
        twin.set_submodule(name, BatchStatisticsNorm(norm))
    return twin


@torch.no_grad()
def recalibrated(model: M, inputs: Iterable[Float[Tensor, "B ..."]]) -> M:
    """Returns a copy of `model` with running statistics that are the means over `inputs`.

    For a student taught on noise: real inputs without labels put its statistics right.

    Raises:
        ValueError: There is no batch norm in it.
    """
    if not batch_norms(model):
        raise ValueError(f"{type(model).__name__} has no batch norm to recalibrate")
    twin = copy.deepcopy(model).eval()
    for module in twin.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain mean
            module.train()
    for input in inputs:
        twin(input)
    return twin.eval()


class AnswersOnBatchStatistics:
    """A factory of networks that use batch statistics at inference too, where batches are large.

    As in `student=AnswersOnBatchStatistics(resnet18)`.

    Args:
        factory: Makes the network.
    """

    def __init__(self, factory: Callable[..., nn.Module]) -> None:
        self.factory = factory

    def __call__(self, **arguments: int) -> nn.Module:
        """Makes the network."""
        return on_batch_statistics(self.factory(**arguments))
