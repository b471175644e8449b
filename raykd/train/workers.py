"""What several workers that teach one cohort do together; alone, each of these does nothing."""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def world() -> int:
    """Number of workers."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def join(module: nn.Module) -> nn.Module:
    """Makes a module's gradients the mean over the workers.

    Parts of it may be out of use for a while, as the head is while a method matches features only.
    Buffers stay each worker's own: running means, and memory banks of what it has seen.
    """
    if world() == 1:
        return module
    joined = DistributedDataParallel(module, find_unused_parameters=True)
    joined.broadcast_buffers = False  # its keyword is deprecated from torch 2.15 on
    return joined


def add_up(sums: Tensor) -> None:
    """Adds the workers' tensors, in place."""
    if world() > 1:
        dist.all_reduce(sums)


def anyone(flag: bool) -> bool:
    """Whether any worker says so: the same answer for all."""
    if world() == 1:
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flags = torch.tensor(float(flag), device=device)
    dist.all_reduce(flags)
    return bool(flags > 0)


def agree(value: T) -> T:
    """What worker 0 says, for all: what each reads by itself may have changed in between."""
    if world() == 1:
        return value
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    said: list[Any] = [value]
    dist.broadcast_object_list(said, 0, device=device)
    agreed: T = said[0]
    return agreed


def share_buffers(module: nn.Module) -> None:
    """Gives every worker the buffers of worker 0, such as the running means of batch norm.

    Worker 0 stores the weights: what is evaluated is then what is stored.
    """
    if world() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)
