"""Collective operations of the workers that train one cohort; no-ops for a single worker."""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def world() -> int:
    """Returns the number of workers; 1 if torch.distributed is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def join(module: nn.Module) -> nn.Module:
    """Wraps a module in DistributedDataParallel, which averages its gradients over the workers.

    Some parameters may be unused in a step, such as the head's while a method matches features
    only. Buffers are not synchronised: every worker keeps its own running means, and memory banks
    of the samples that it has seen.
    """
    if world() == 1:
        return module
    joined = DistributedDataParallel(module, find_unused_parameters=True)
    joined.broadcast_buffers = False  # its keyword is deprecated from torch 2.15 on
    return joined


def add_up(sums: Tensor) -> None:
    """Sums a tensor over the workers, in place (one all-reduce)."""
    if world() > 1:
        dist.all_reduce(sums)


def anyone(flag: bool) -> bool:
    """Returns True on every worker if `flag` is True on any of them (one all-reduce)."""
    if world() == 1:
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flags = torch.tensor(float(flag), device=device)
    dist.all_reduce(flags)
    return bool(flags > 0)


def agree(value: T) -> T:
    """Returns worker 0's value on every worker (one broadcast).

    Use it for values that every worker reads from the store by itself: the store may have changed
    between the reads of two workers.
    """
    if world() == 1:
        return value
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    said: list[Any] = [value]
    dist.broadcast_object_list(said, 0, device=device)
    agreed: T = said[0]
    return agreed


def share_buffers(module: nn.Module) -> None:
    """Copies worker 0's buffers, such as the running means of batch norm, to every worker.

    Called before an evaluation, so that the workers evaluate the model that worker 0 stores.
    """
    if world() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)
