"""A rehearsal: one training step of every network and method on made-up images, on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from raykd.data import Batch, Data
from raykd.experiments.distillation import MakeMethod, fitted, method_class, method_name
from raykd.methods import Method
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.study.specification import Specification
from raykd.train.failure import of_machine, reason
from raykd.train.pretrain import Source
from raykd.train.recipe import Recipe
from raykd.train.student import Student

LARGEST = 64
"""Largest number of made-up samples, for methods that can't learn from two."""


@dataclass(frozen=True)
class Stream:
    """Describes the sizes of the batches that a network is trained on.

    Args:
        samples: Number of training samples in an epoch.
        batch_size: Samples in a batch, over all workers.
        worlds: Numbers of workers that a batch may be divided between.
        parts: Number of parts for gradient accumulation that a worker's share is cut into.
    """

    samples: int
    batch_size: int
    worlds: tuple[int, ...] = (1,)
    parts: int = 1

    def sizes(self) -> set[int]:
        """Returns the smallest numbers of samples in one forward pass.

        They are those of a full batch and of the last batch, for each number of workers.
        """
        whole = min(self.batch_size, self.samples)
        batches = {whole, self.samples % whole or whole}
        shares = {size // world for size in batches for world in self.worlds}
        return {share // min(self.parts, share) for share in shares if share}

    def another(self, least: int) -> int | None:
        """Returns the nearest batch size with at least `least` samples in every forward pass."""
        others = sorted(range(1, self.samples + 1), key=lambda size: abs(size - self.batch_size))
        fit = (size for size in others if min(replace(self, batch_size=size).sizes()) >= least)
        return next(fit, None)

    def __str__(self) -> str:
        world, text = max(self.worlds), f"{self.samples} training samples in batches of"
        shared = f" shared by {world} workers" if world > 1 else ""
        cut = f" and cut into {self.parts} parts" if self.parts > 1 else ""
        return f"{text} {self.batch_size}{shared}{cut}"


def rehearse(study: Specification, data: Data, source: Source, teacher: nn.Module) -> None:
    """Runs one training step of each method with its defaults: forward, backward, optimizer.

    Methods and terms of sums that override `prepare` are left out: preparing them from the data
    takes too long here, and a step prepared from made-up data would prove nothing.

    Args:
        study: The study to rehearse.
        data: The study's data, of which only the shapes and sizes are used.
        source: Source of the teacher; a teacher that this study trains is rehearsed as well.
        teacher: The teacher's network.

    Raises:
        ValueError: A step fails, or a method can't learn from as few samples as the last batch has.
    """
    worlds = tuple(range(study.min_workers or study.workers or 1, (study.workers or 1) + 1))
    stream = Stream(len(data), study.batch_size, worlds, study.accumulate)
    if source.trained_here:
        samples = source.data.get("train", len(data))
        alone = Stream(samples, study.batch_size, parts=source.recipe.accumulate)
        _Rehearsal(data, source.make, source.recipe, alone, None)("the teacher", Vanilla)
    try_student = _Rehearsal(data, fitted(study.student, data), study.recipe, stream, teacher)
    try_student("the student", Vanilla)
    for method in (study.method, *study.references):
        for part in _unprepared(method):
            try_student(f"the method {method_name(part)}", part)


def _unprepared(method: MakeMethod) -> list[MakeMethod]:
    """Returns the method, or the terms of a sum, that do not override `Method.prepare`."""
    kind = method_class(method)
    parts = getattr(kind, "parts", {"": kind})
    kept = [part for part in parts.values() if part.prepare is Method.prepare]
    return [method] if len(kept) == len(parts) else list(kept)


@dataclass(frozen=True)
class _Rehearsal:
    """Rehearsal of one network's training: its data, recipe and batches, and its teacher if any."""

    data: Data
    make: Callable[[], nn.Module]
    recipe: Recipe
    stream: Stream
    teacher: nn.Module | None

    def __call__(self, who: str, method: MakeMethod) -> None:
        """Tries the method with the fewest samples first, and with more only if these fail."""
        least, most = min(self.stream.sizes()), max(self.stream.sizes())
        few = self._fault(method, min(least, 2))
        if not few:
            return
        if broken := self._fault(method, min(most, LARGEST)):
            raise ValueError(f"{who} can't be trained with its defaults: {broken}")
        if least > 2:
            few = self._fault(method, min(least, LARGEST))
        if few:
            size = self.stream.another(least + 1)
            advice = f"choose another batch size, such as {size}" if size else "use more samples"
            raise ValueError(
                f"{who} can't learn from {least} sample{'s' * (least > 1)} at a time, and"
                f" {self.stream} leave so few: {few}; {advice}"
            )

    def _fault(self, method: MakeMethod, samples: int) -> str:
        """Returns why a training step on `samples` samples fails, or "" if it succeeds.

        Errors of a network connection or a storage count as success: training retries them.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            images = torch.randn(max(samples, 2), *self.data.shape)
            t = None
            with torch.no_grad():
                if self.teacher is not None:
                    t = self.teacher(images).map(torch.Tensor.float)
            index = torch.arange(samples)
            batch = Batch(index, images[:samples], index % self.data.classes)
            try:
                return self._step(method, images[:2], t, batch)
            except Exception as error:  # a user's code may raise anything
                return "" if of_machine(error) else reason(error)

    def _step(
        self, method: MakeMethod, example: torch.Tensor, t: Output | None, batch: Batch
    ) -> str:
        recipe = replace(self.recipe, compile=False, precision="float32", accumulate=1)
        two = t and t.map(lambda tensor: tensor[:2])
        student = Student("rehearsal", self.make, method, example, two, recipe, 1)
        student.begin(0)
        student.step(batch, t and t.map(lambda tensor: tensor[: len(batch.index)]))
        wrong = {n: v.item() for n, v in student.sums.items() if not v.isfinite()}
        named = ", ".join(f"{name} is {value}" for name, value in wrong.items())
        return f"{named} on made-up images" if named else ""
