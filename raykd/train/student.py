"""A student in training: network, method, optimizer, schedule, random state and metric sums."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raykd.data import Batch
from raykd.methods import Method
from raykd.methods.terms import check_gradient
from raykd.models import Output
from raykd.models.output import at_least_float32
from raykd.train.recipe import Recipe

Wrap = Callable[[nn.Module], nn.Module]
"""Function that makes a module average its gradients over the workers, such as `workers.join`."""


class DistillationLoss(nn.Module):
    """A student's network and its method as one module, which is trained and wrapped by DDP.

    Args:
        model: Network of the student.
        method: Distillation method, which may have parameters of its own.
        autocast: True to run the network in bfloat16; the method runs in float32 in any case.
    """

    def __init__(self, model: nn.Module, method: Method, *, autocast: bool = False) -> None:
        super().__init__()
        self.model = model
        self.method = method
        self.autocast = autocast

    def forward(
        self, batch: Batch, t: Output | None
    ) -> tuple[dict[str, Tensor], Float[Tensor, "B K"]]:
        """Returns the loss's weighted terms and the student's logits, in float32 or wider.

        The logits carry no gradient.

        Args:
            batch: Batch of B samples.
            t: The teacher's output for the batch. If it is None (there is no teacher, as when the
                teacher itself is trained), the method gets the student's own output instead.
        """
        kind = batch.input.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.autocast):
            s: Output = self.model(batch.input)
        return self.method(s, t or s, batch), at_least_float32(s.logits.detach())


class Randomness:
    """A student's own state of torch's global random generators, for its weights and dropout.

    An epoch's initial state is a function of (seed, epoch, rank), so that an epoch that is repeated
    draws the same numbers.
    """

    def __init__(self, seed: int, device: torch.device, rank: int = 0) -> None:
        self.seed, self.rank = seed, rank
        self.devices = [device] if device.type == "cuda" else []
        self.states: list[Tensor] = []
        self.restart(epoch=-1)

    def restart(self, epoch: int) -> None:
        """Sets the state to that with which the epoch, counted from 0, begins."""
        with torch.random.fork_rng(devices=self.devices):
            mixed = np.random.SeedSequence([self.seed, epoch + 1, self.rank])
            torch.manual_seed(int(mixed.generate_state(1, np.uint64)[0]) >> 1)
            self.states = self._read()

    @contextmanager
    def use(self) -> Iterator[None]:
        """Makes torch's global generators continue from this student's state within the block."""
        with torch.random.fork_rng(devices=self.devices):
            torch.set_rng_state(self.states[0])
            for device, state in zip(self.devices, self.states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self.states = self._read()

    def _read(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in self.devices)]


class Student:
    """The student of one trial: trains a network with a method and an optimizer of its own.

    Args:
        trial: Name of the trial in the study.
        model: Factory of the network.
        method: Factory of the method; gets one output of the student and one of the teacher.
        example: Two input samples, from which the shapes of the outputs are found.
        t: The teacher's output for `example`, or None if there is no teacher.
        recipe: Optimizer, schedule, precision and number of epochs.
        steps_per_epoch: Number of batches in an epoch.
        seed: Seed of the initial weights and of dropout.
        overrides: Optimizer arguments that the trial sets.
        rank: Number of this worker, from 0, if several train the student together.
        wrap: Function that makes a module average its gradients over the workers; the default
            changes nothing.

    Attributes:
        sums: Sums of the training metrics over the epoch's samples so far, as float64 tensors on
            the device.
        lr: Learning rate of the last step.
    """

    def __init__(
        self,
        trial: str,
        model: Callable[[], nn.Module],
        method: Callable[[Output, Output], Method],
        example: Float[Tensor, "2 ..."],
        t: Output | None,
        recipe: Recipe,
        steps_per_epoch: int,
        *,
        seed: int = 0,
        overrides: dict[str, Any] | None = None,
        rank: int = 0,
        wrap: Wrap = lambda module: module,
    ) -> None:
        device = example.device
        self.trial, self.recipe = trial, recipe
        self.random = Randomness(seed, device, rank)
        initial = Randomness(seed, device)
        with initial.use():
            network = model().to(device)
            network = network.to(memory_format=torch.channels_last)  # faster on CPUs too
            with torch.no_grad():
                s: Output = network.eval()(example)
            made = method(s, t or s).to(device)
        self.loss = DistillationLoss(network, made, autocast=recipe.autocast(device))
        trained = [p for p in self.loss.parameters() if p.requires_grad]
        self.optimizer, self.scheduler = recipe.build(trained, steps_per_epoch, **(overrides or {}))
        if recipe.compile:
            self.loss.compile()
        self._module = wrap(self.loss)
        self.sums: dict[str, Tensor] = {}
        self.lr = 0.0

    @property
    def model(self) -> nn.Module:
        """Network of the student, without the method's learnable parts."""
        return self.loss.model

    @property
    def parameters(self) -> int:
        """Number of parameters of the network, without those of the method."""
        return sum(p.numel() for p in self.model.parameters())

    def begin(self, epoch: int, *, fresh: bool = True) -> None:
        """Starts an epoch, or continues it from a checkpoint.

        Args:
            epoch: Number of the epoch, from 0.
            fresh: False if some of the epoch's batches were trained on before.
        """
        self.loss.train()
        if fresh:
            self.random.restart(epoch)
            self.sums = {}
        for module in (self.model, self.loss.method):
            schedule = getattr(module, "schedule", None)
            if schedule is not None:
                schedule(epoch / self.recipe.epochs)

    def step(self, batch: Batch, t: Output | None, weight: float = 1.0) -> None:
        """Trains on a batch: one optimizer step and one step of the schedule.

        Args:
            batch: This worker's part of the batch.
            t: The teacher's output for it, or None if there is no teacher.
            weight: Factor of the loss: the size of this part over the mean size of the workers'
                parts, so that the mean over workers is the mean over samples.
        """
        parts = min(self.recipe.accumulate, len(batch.target))
        for i, (part, t_part) in enumerate(_split(batch, t, parts)):
            share = len(part.target) / len(batch.target)
            with self._joined(i == parts - 1):
                with self.random.use():
                    terms, logits = self._module(part, t_part)
                check_gradient(terms, self.loss.method)
                (torch.stack(list(terms.values())).sum() * (share * weight)).backward()
            self._count(terms, logits, part.target)
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.loss.parameters(), self.recipe.clip)
        self.lr = float(self.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _joined(self, last: bool) -> AbstractContextManager[None]:
        """Returns a context in which the workers' gradients are averaged for the last part only."""
        if isinstance(self._module, DistributedDataParallel) and not last:
            return self._module.no_sync()
        return nullcontext()

    @torch.no_grad()
    def _count(self, terms: dict[str, Tensor], logits: Tensor, target: Tensor) -> None:
        """Adds to the epoch's sums on the device, without waiting for the device."""
        n = len(target)
        counted = {f"loss_{name}": term.detach() * n for name, term in terms.items()}
        counted["train_top1"] = (logits.argmax(1) == target).sum()
        counted["samples"] = torch.full((), n, device=target.device)
        for name, value in counted.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.double()

    def state_dict(self) -> dict[str, Any]:
        """Returns all that an exact continuation needs, within an epoch or after it.

        It consists of tensors and plain values, so that `torch.load(weights_only=True)` reads it.
        """
        return {
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": self.random.states,
            "sums": self.sums,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state that `state_dict` returned."""
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.random.states = [random.cpu() for random in state["random"]]
        self.sums = state["sums"]


def _split(batch: Batch, t: Output | None, parts: int) -> Iterator[tuple[Batch, Output | None]]:
    """Yields a batch and the teacher's output for it in parts of almost equal size."""
    if parts == 1:
        yield batch, t
        return
    for rows in torch.arange(len(batch.target), device=batch.target.device).tensor_split(parts):
        part = Batch(*(field[rows] for field in batch))
        yield part, t and t.map(partial(torch.index_select, dim=0, index=rows))
