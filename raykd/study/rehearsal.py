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
"""Made-up samples, where two are too few for a method."""


@dataclass(frozen=True)
class Stream:
    """How the training samples come.

    Args:
        samples: Training samples of an epoch.
        batch_size: Over all workers.
        worlds: Numbers of workers that may share a batch.
        parts: Parts that a worker's share is cut into.
    """

    samples: int
    batch_size: int
    worlds: tuple[int, ...] = (1,)
    parts: int = 1

    def sizes(self) -> set[int]:
        """Samples that are learned from at a time: the least of each whole and last batch."""
        whole = min(self.batch_size, self.samples)
        batches = {whole, self.samples % whole or whole}
        shares = {size // world for size in batches for world in self.worlds}
        return {share // min(self.parts, share) for share in shares if share}

    def another(self, least: int) -> int | None:
        """Returns the nearest batch size that leaves at least so many samples everywhere."""
        others = sorted(range(1, self.samples + 1), key=lambda size: abs(size - self.batch_size))
        fit = (size for size in others if min(replace(self, batch_size=size).sizes()) >= least)
        return next(fit, None)

    def __str__(self) -> str:
        world, text = max(self.worlds), f"{self.samples} training samples in batches of"
        shared = f" shared by {world} workers" if world > 1 else ""
        cut = f" and cut into {self.parts} parts" if self.parts > 1 else ""
        return f"{text} {self.batch_size}{shared}{cut}"


def rehearse(study: Specification, data: Data, source: Source, teacher: nn.Module) -> None:
    """Runs a forward and a backward pass and an optimizer step of each method with its defaults.

    What overrides `prepare` is left out, alone and in sums: to prepare it from the data takes too
    long here, and from made-up data it would say nothing.

    Raises:
        ValueError: One fails, or can't learn from as few samples as the last batch has.
    """
    worlds = tuple(range(study.min_workers or study.workers or 1, (study.workers or 1) + 1))
    stream = Stream(len(data), study.batch_size, worlds, study.accumulate)
    if source.trained_here:
        samples = source.data.get("train", len(data))
        alone = Stream(samples, study.batch_size, parts=source.recipe.accumulate)
        _Rehearsal(data, source.make, source.recipe, alone, None)("the teacher", Vanilla)
    ours = _Rehearsal(data, fitted(study.student, data), study.recipe, stream, teacher)
    ours("the student", Vanilla)
    for method in (study.method, *study.references):
        for part in _unprepared(method):
            ours(f"the method {method_name(part)}", part)


def _unprepared(method: MakeMethod) -> list[MakeMethod]:
    """The method, or those parts of a sum, that need nothing of the data before they are called."""
    kind = method_class(method)
    parts = getattr(kind, "parts", {"": kind})
    kept = [part for part in parts.values() if part.prepare is Method.prepare]
    return [method] if len(kept) == len(parts) else list(kept)


@dataclass(frozen=True)
class _Rehearsal:
    data: Data
    make: Callable[[], nn.Module]
    recipe: Recipe
    stream: Stream
    teacher: nn.Module | None

    def __call__(self, who: str, method: MakeMethod) -> None:
        """Tries the fewest samples first, and more only where these fail."""
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
        """Returns what is wrong with a training step on so many samples, or nothing.

        What a network or a storage did is nothing: training tries that again.
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
