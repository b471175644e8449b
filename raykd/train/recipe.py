"""Recipes: the optimizer, learning rate schedule and number of epochs that train a student."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
)

from raykd.train.component import describe

SCHEDULES = ("milestones", "cosine", "onecycle", "constant")
"""Names of the learning rate schedules; `Recipe` says what each of them does."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run: all but the data, the networks and the method.

    Each student gets an optimizer and a schedule of its own.

    Args:
        epochs: Number of passes over the training split.
        optimizer: Optimizer factory; called with the list of parameters to train.
        schedule: Name of the learning rate schedule. `milestones` multiplies the learning rate by
            `decay` after each of the epochs in `milestones`; `cosine` anneals it to 0; `onecycle`
            is torch's `OneCycleLR` with the optimizer's learning rate as its peak and a constant
            momentum; `constant` keeps it.
        milestones: Epochs after which the learning rate decays. With 150, epoch 151 is the first
            at the new rate.
        decay: Factor by which a milestone multiplies the learning rate.
        warmup: Number of epochs in which the learning rate grows linearly from 0 before the
            schedule takes over.
        clip: Largest norm of a student's gradient; None does not clip it.
        accumulate: Number of parts into which a batch is cut for one optimizer step; each part
            has a forward and a backward pass of its own. Relational losses and batch norm see
            one part at a time.
        precision: `bfloat16` runs the networks under autocast, `float32` does not; losses are
            float32 in any case. None means bfloat16 on a GPU and float32 on a CPU.
        compile: True to compile the networks with `torch.compile`.
    """

    epochs: int
    optimizer: Callable[..., Optimizer] = partial(SGD, lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule: str = "milestones"
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    warmup: int = 0
    clip: float | None = None
    accumulate: int = 1
    precision: str | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}; at least one epoch is needed")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}; known: {', '.join(SCHEDULES)}")
        if self.milestones and self.schedule != "milestones":
            raise ValueError(
                f"milestones {self.milestones} have no meaning in the schedule {self.schedule!r};"
                " leave them out, or take schedule='milestones'"
            )
        if not 0 <= self.warmup < self.epochs:
            raise ValueError(
                f"warmup is {self.warmup} epochs; it must be at least 0 and below the"
                f" {self.epochs} of the training"
            )
        if self.warmup and self.schedule == "onecycle":
            raise ValueError(
                f"warmup is {self.warmup} epochs, but the schedule 'onecycle' has a warm-up of its"
                " own; leave warmup out"
            )
        if list(self.milestones) != sorted({*self.milestones} - {*range(self.warmup + 1)}):
            raise ValueError(
                f"milestones are {self.milestones}; they must grow, and the first must come after"
                f" epoch {self.warmup}, the end of the warm-up"
            )
        if self.decay <= 0:
            raise ValueError(f"decay is {self.decay}; the factor must be above 0, such as 0.1")
        if self.precision not in (None, "float32", "bfloat16"):
            raise ValueError(f"unknown precision {self.precision!r}; known: float32, bfloat16")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"clip is {self.clip}; a gradient norm limit must be above 0")
        if self.accumulate < 1:
            raise ValueError(f"accumulate is {self.accumulate}; a batch has at least one part")

    def tunable(self) -> set[str]:
        """Returns the optimizer arguments that a study may search beside the method's."""
        function = self.optimizer
        while isinstance(function, partial):
            function = function.func
        parameters = list(inspect.signature(function).parameters)[1:]
        return {name for name in parameters if name not in ("foreach", "fused", "args", "kwargs")}

    def autocast(self, device: torch.device) -> bool:
        """Returns True if networks on this device run in bfloat16."""
        default = "bfloat16" if device.type == "cuda" else "float32"
        return (self.precision or default) == "bfloat16"

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serialisable description; equal ones lead to the same numbers."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **plain,
            "milestones": list(self.milestones),
            "optimizer": describe(self.optimizer),
        }

    def build(
        self, parameters: Iterable[nn.Parameter], steps_per_epoch: int, **overrides: Any
    ) -> tuple[Optimizer, LRScheduler]:
        """Makes a student's optimizer and its learning rate schedule.

        Args:
            parameters: Parameters to train.
            steps_per_epoch: Number of batches in an epoch. The schedule is stepped after each
                batch, not after each epoch.
            **overrides: Optimizer arguments that replace the recipe's own.
        """
        optimizer = self.optimizer(list(parameters), **overrides)
        total, warm = self.epochs * steps_per_epoch, self.warmup * steps_per_epoch
        main = self._schedule(optimizer, total - warm, warm, steps_per_epoch)
        if not warm:
            return optimizer, main
        growth = LinearLR(optimizer, start_factor=1 / warm, total_iters=warm - 1)
        return optimizer, SequentialLR(optimizer, [growth, main], milestones=[warm])

    def _schedule(
        self, optimizer: Optimizer, steps: int, warm: int, steps_per_epoch: int
    ) -> LRScheduler:
        match self.schedule:
            case "cosine":
                return CosineAnnealingLR(optimizer, T_max=steps)
            case "onecycle":
                peak = [group["lr"] for group in optimizer.param_groups]
                return OneCycleLR(optimizer, peak, total_steps=steps + 1, cycle_momentum=False)
            case _:
                decays = [epoch * steps_per_epoch - warm for epoch in self.milestones]
                return MultiStepLR(optimizer, decays, gamma=self.decay)
