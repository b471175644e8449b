"""The context of a worker process: its device and its place among the workers of a cohort."""

from collections.abc import Callable
from dataclasses import dataclass

from raykd.train.student import Wrap


@dataclass(frozen=True)
class WorkerContext:
    """Describes the process in which a cohort, or one worker's part of it, is trained.

    Attributes:
        device: Name of the torch device, such as `cpu` or `cuda:0`.
        rank: Number of this worker, from 0.
        world_size: Number of workers of the cohort.
        wrap: Function that makes a module average its gradients over the workers; the default
            changes nothing.
        preempted: Callback that returns True, on every worker alike, when a machine of the cohort
            is about to be taken away. It is called after each batch.
    """

    device: str = "cpu"
    rank: int = 0
    world_size: int = 1
    wrap: Wrap = lambda module: module
    preempted: Callable[[], bool] = lambda: False
