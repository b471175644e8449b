"""The specification of a study: a value that everything which runs the study reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from torch.optim import SGD, Optimizer

from raykd.experiments.distillation import (
    Distillation,
    MakeData,
    MakeMethod,
    MakeModel,
    method_class,
    method_name,
)
from raykd.experiments.plan import TrialPlan
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.search.kinds import plain
from raykd.search.planner import SearchConfig
from raykd.search.space import Space
from raykd.search.starting_points import complete, left_out
from raykd.train.cohort import Objective
from raykd.train.component import Component, described
from raykd.train.halving import Halving
from raykd.train.recipe import Recipe

Some = TypeVar("Some", bound="Specification")


@dataclass(frozen=True)
class Specification:
    """What a study searches, for which networks, on which data, and at what cost.

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
    space: Space = field(default_factory=dict)
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

    def override(self: Some, **changes: Any) -> Some:
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
    def objective(self) -> Objective:
        """The first objective."""
        return Objective(self.metrics[0], self.modes[0])

    @property
    def recipe(self) -> Recipe:
        """How the students are optimised."""
        names = set(Recipe.__dataclass_fields__)
        return Recipe(**{name: getattr(self, name) for name in names})

    @property
    def distillation(self) -> Distillation:
        """What the cohorts train: all that does not belong to the search."""
        return Distillation(
            data=self.data,
            teacher=self.teacher,
            student=self.student,
            method=self.method,
            references=self.named_references(),
            recipe=self.recipe,
            batch_size=self.batch_size,
            seed=self.seed,
            objective=self.objective,
            halving=self.halving,
            teacher_recipe=self.teacher_recipe,
            teacher_data=self.teacher_data,
            teacher_weights=self.teacher_weights,
            teacher_sha256=self.teacher_sha256,
        )

    def named_references(self) -> dict[str, MakeMethod]:
        """Returns the references by the names of their trials; a second KD is `kd-2`."""
        named: dict[str, MakeMethod] = {}
        seen: dict[str, int] = {}
        for method in self.references:
            name = method_name(method)
            seen[name] = seen.get(name, 0) + 1
            named[name if seen[name] == 1 else f"{name}-{seen[name]}"] = method
        return named

    def defaults(self) -> dict[str, Any]:
        """Returns the value that each hyperparameter has where a trial does not set it."""
        optimizer = Component.of(self.optimizer)
        return {
            **{name: parameter.default for name, parameter in optimizer.parameters.items()},
            **optimizer.bound,
            **method_class(self.method).hyperparameters(),
            **Component.of(self.method).bound,
        }

    def left_out(self) -> list[str]:
        """Returns a sentence for each default that lies outside of the space but is needed."""
        return left_out(self.first[: self.trials], self.space, self.defaults())

    def search_config(self, concurrent: int) -> SearchConfig:
        """Returns the search as the planner needs it.

        Args:
            concurrent: Number of cohorts that run at a time.
        """
        references = tuple(
            TrialPlan(
                trial,
                "reference",
                method_name(method),
                {name: described(value) for name, value in Component.of(method).bound.items()},
            )
            for trial, method in self.named_references().items()
        )
        return SearchConfig(
            space=self.space,
            modes=self.modes,
            trials=self.trials,
            cohort=self.cohort,
            given=complete(self.first[: self.trials], self.space, self.defaults()),
            references=references,
            method=method_name(self.method),
            sampler=self.sampler,
            seed=self.seed,
            replicates=self.seeds,
            concurrent=concurrent,
            in_order=self.in_order,
        )
