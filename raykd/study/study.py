"""A study: teacher, student, data, method, search space, metric and budget."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from optuna.distributions import BaseDistribution
from torch import nn
from torch.optim import SGD, Optimizer

from raykd.data import Data
from raykd.methods import Method
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.store import Folder
from raykd.store import Study as Stored
from raykd.study.first import complete, left_out
from raykd.study.kinds import plain
from raykd.study.plan import Setting
from raykd.study.search import Question
from raykd.train.cohort import Goal
from raykd.train.describe import described
from raykd.train.halving import Halving
from raykd.train.recipe import Recipe

MakeData = Callable[..., Data]
MakeModel = Callable[..., nn.Module]
MakeMethod = Callable[..., Method]
After = Callable[[Stored], None]


@dataclass(frozen=True)
class Study:
    """What is searched, for which networks, on which data, at what cost.

    Args:
        name: Of the study in its store.
        data: A data set's class, or a `partial` of it.
        teacher: Makes the teacher's network; called with `num_classes` and `in_channels`.
        student: Makes a student's network; likewise.
        method: A method's class, or a `partial` that sets some of its hyperparameters.
        space: Optuna's distributions by name: hyperparameters of the method, or arguments of the
            optimizer where the method has none of that name.
        first: Settings to try first; `{}` is the paper's own, the method's defaults. A default
            outside of the space is replaced by the nearest value in it.
        references: Methods that are not searched and ride in the first cohort.
        metric: The objective on the validation split after the last epoch, or several: any metric
            of a row (`val_top1`, `val_loss`, …) or `params`. The first one decides what halving
            drops and which epoch is the best.
        mode: `max` or `min`, one for each metric.
        trials: Settings to try, those of `first` among them.
        cohort: Students that are taught side by side, the references among them.
        epochs: Of every trial.
        batch_size: Over all workers of a cohort.
        optimizer: Called with the parameters to train.
        schedule: Of the learning rate; see `Recipe`.
        milestones: Epochs after which the learning rate decays.
        decay: Factor at a milestone.
        warmup: Epochs of linear growth of the learning rate.
        clip: Largest gradient norm of a student.
        accumulate: Parts that a batch is cut into.
        precision: Of the networks; see `Recipe`.
        compile: Whether networks go through `torch.compile`.
        halving: When a cohort drops its worst trials, if at all.
        sampler: `tpe`, `gp`, `random` or `qmc`.
        in_order: Whether a cohort is asked for only when those before it are known in their
            order: then the same seed gives the same study. Otherwise no worker ever waits.
        seed: Of the data's split and order, the initial weights and the suggestions.
        seeds: Replicates of every trial; the objective is their mean.
        teacher_recipe: How the teacher is trained where it has to be; by default as the student.
        teacher_data: What it is trained on then; by default `data`.
        teacher_weights: A file with the teacher's weights, a path or `s3://`.
        teacher_sha256: What that file's SHA-256 must be.
        workers: Ray Train workers of a cohort; 0 runs it in the Tune actor itself, on CPUs. By
            default 1 where the cluster has GPUs, else 0.
        min_workers: Where given, a cohort starts with so many Ray Train workers and grows to
            `workers` when there is room (Ray Train's elastic workers): each change of size goes on
            from the last epoch, with the same global batch.
        cpus: For each worker, and for the teacher while it is trained; as many threads.
        gpus: For each Ray Train worker; by default 1 where the cluster has GPUs, else 0.
        concurrent: Cohorts at a time; by default as many as the cluster has room for.
        smoke: Fields that `--smoke` replaces, for a run of seconds on made-up data; see
            `raykd.study.smoke` for what it does where none are given.
    """

    name: str
    data: MakeData
    teacher: MakeModel
    student: MakeModel
    method: MakeMethod
    space: Mapping[str, BaseDistribution] = field(default_factory=dict)
    first: Sequence[Mapping[str, Any]] = ({},)
    references: Sequence[MakeMethod] = (Vanilla, KD)
    metric: str | Sequence[str] = "val_top1"
    mode: str | Sequence[str] = "max"
    trials: int = 16
    cohort: int = 4
    epochs: int = 10
    batch_size: int = 64
    optimizer: Callable[..., Optimizer] = partial(SGD, lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule: str = "milestones"
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    warmup: int = 0
    clip: float | None = None
    accumulate: int = 1
    precision: str | None = None
    compile: bool = False
    halving: Halving | None = None
    sampler: str = "tpe"
    in_order: bool = True
    seed: int = 0
    seeds: int = 1
    teacher_recipe: Recipe | None = None
    teacher_data: MakeData | None = None
    teacher_weights: str | None = None
    teacher_sha256: str | None = None
    workers: int | None = None
    min_workers: int | None = None
    cpus: float = 1.0
    gpus: float | None = None
    concurrent: int | None = None
    smoke: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, plain(getattr(self, name)))

    def main(self, arguments: Sequence[str] | None = None, *, after: After | None = None) -> None:
        """Runs the study from the command line; every option overrides a field.

        Args:
            arguments: In place of the process's own.
            after: Shows more than the page does: is given the study as it is stored.

        Raises:
            SystemExit: Always, without `arguments`; with them, if the study could not be run.
        """
        from raykd.study.command import run

        run(self, arguments, after)

    def run(self, storage: str = "results", *, report: bool = True) -> None:
        """Runs the study, or goes on with it, until its trials are done.

        Args:
            storage: A folder or `s3://bucket/prefix`.
            report: Whether to write the page at the end.

        Raises:
            ValueError: Something can't be as it was asked for: before anything is trained.
            RuntimeError: Cohorts failed for good, or the page can't be written.
        """
        from raykd.study.driver import run

        storage = Folder(storage).uri  # absolute, wherever the study's own code changes to
        run(self, storage)
        if report:
            from raykd.study.page import write_page

            write_page(storage, self.name)

    def override(self, **changes: Any) -> "Study":
        """The study with some fields replaced.

        With other `epochs` the milestones, the warm-up and the rungs of halving move in
        proportion: a schedule is compressed, not cut off.
        """
        unknown = sorted(set(changes) - set(self.__dataclass_fields__))
        if unknown:
            known = ", ".join(self.__dataclass_fields__)
            raise ValueError(f"a study has no {', '.join(unknown)}; it has {known}")
        epochs = changes.get("epochs", self.epochs)
        if epochs != self.epochs:

            def scaled(marks: tuple[int, ...], least: int = 1) -> tuple[int, ...]:
                moved = (max(least, round(mark * epochs / self.epochs)) for mark in marks)
                return tuple(sorted({mark for mark in moved if mark < epochs}))

            warmup = changes.setdefault("warmup", self.warmup * epochs // self.epochs)
            changes.setdefault("milestones", scaled(self.milestones, least=warmup + 1))
            if self.halving:
                rungs = scaled(self.halving.rungs)
                changes.setdefault("halving", replace(self.halving, rungs=rungs))
        return replace(self, **changes)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives' names."""
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)

    @property
    def modes(self) -> tuple[str, ...]:
        """`max` or `min` for each objective."""
        return (self.mode,) if isinstance(self.mode, str) else tuple(self.mode)

    @property
    def goal(self) -> Goal:
        """The first objective."""
        return Goal(self.metrics[0], self.modes[0])

    @property
    def recipe(self) -> Recipe:
        """How the students are optimised."""
        names = set(Recipe.__dataclass_fields__)
        return Recipe(**{name: getattr(self, name) for name in names})

    def methods(self) -> dict[str, MakeMethod]:
        """The method and the references by name."""
        named: dict[str, MakeMethod] = {}
        for method in (self.method, *self.references):
            named.setdefault(method_name(method), method)
        return named

    def left_out(self) -> list[str]:
        """Returns a sentence for each default that the space lacks, and that `first` needs."""
        return left_out(self.first[: self.trials], self.space, defaults_of(self))

    def question(self, concurrent: int) -> Question:
        """The search as Optuna is to see it."""
        references, seen = [], dict[str, int]()
        for method in self.references:
            name = method_name(method)
            seen[name] = seen.get(name, 0) + 1
            trial = name if seen[name] == 1 else f"{name}-{seen[name]}"
            config = {key: described(value) for key, value in bound(method).items()}
            references.append(Setting(trial, "reference", name, config))
        given = complete(self.first[: self.trials], self.space, defaults_of(self))
        return Question(
            space=self.space,
            modes=self.modes,
            trials=self.trials,
            cohort=self.cohort,
            given=given,
            references=tuple(references),
            method=method_name(self.method),
            sampler=self.sampler,
            seed=self.seed,
            replicates=self.seeds,
            concurrent=concurrent,
            in_order=self.in_order,
        )


def method_name(method: MakeMethod) -> str:
    """The method's name in the store: its class's, in small letters."""
    return method_class(method).__name__.lower()


def method_class(method: MakeMethod) -> type[Method]:
    """The class behind any `partial`s."""
    while isinstance(method, partial):
        method = method.func
    if not (inspect.isclass(method) and issubclass(method, Method)):
        raise ValueError(
            f"{method!r} is no method; give a class of raykd.methods or a partial of it"
        )
    return method


def bound(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword arguments that `partial`s have bound, the outermost winning."""
    arguments: dict[str, Any] = {}
    while isinstance(function, partial):
        arguments = {**function.keywords, **arguments}
        function = function.func
    return arguments


def defaults_of(study: Study) -> dict[str, Any]:
    """The value that each name has where a trial does not set it."""
    method = method_class(study.method)
    optimizer = inspect.signature(study.optimizer).parameters
    return {
        **{name: parameter.default for name, parameter in optimizer.items()},
        **method.hyperparameters(),
        **bound(study.method),
    }
