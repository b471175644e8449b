"""What a worker process knows of its place in a cohort."""

from collections.abc import Callable
from dataclasses import dataclass

from raykd.train.student import Wrap


@dataclass(frozen=True)
class WorkerContext:
    """The process in which a cohort, or one worker's part of it, is trained.

    Attributes:
        device: Torch's name of the device, such as `cpu` or `cuda:0`.
        rank: Number of this worker, from 0.
        world_size: Number of workers of the cohort.
        wrap: Joins a model's gradients over the workers.
        preempted: Returns True, on every worker alike, when a machine of the cohort is about to be
            taken away; called after each batch.
    """

    device: str = "cpu"
    rank: int = 0
    world_size: int = 1
    wrap: Wrap = lambda module: module
    preempted: Callable[[], bool] = lambda: False
