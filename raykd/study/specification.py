"""The specification of a study: an immutable value with all its settings."""

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
    """The settings of a study: search, networks, data, training and resources.

    Args:
        name: Name of the study in its store.
        data: Class of a data set, or a `partial` of it.
        teacher: Function that makes the teacher's network from `num_classes` and `in_channels`.
        student: Function that makes a student's network from the same arguments.
        method: Class of a distillation method, or a `partial` that sets some of its
            hyperparameters.
        space: Search space: Optuna distributions by name. A name is a hyperparameter of the method
            or, if the method has none of that name, an argument of the optimizer.
        first: Settings to try first; `{}` stands for the method's defaults, which are the paper's.
            A default outside of the space is replaced by the nearest value in it.
        references: Methods that are trained in the first cohort for comparison, without a search.
        metric: One or more objectives, measured after the last epoch: metrics on the validation
            split (`val_top1`, `val_top5`, `val_loss`) or `params`. The first one decides which
            trials halving drops and which epoch is the best.
        mode: `max` or `min`, one for each metric.
        trials: Number of settings to try, including those of `first`.
        cohort: Number of students trained side by side, including the references.
        epochs: Number of epochs of every trial.
        batch_size: Samples in a batch, over all workers of a cohort.
        optimizer: Function that makes the optimizer from the parameters to train.
        schedule: Learning rate schedule; see `Recipe`.
        milestones: Epochs after which the learning rate decays.
        decay: Factor that the learning rate is multiplied by at a milestone.
        warmup: Number of epochs in which the learning rate grows linearly.
        clip: Largest gradient norm of a student.
        accumulate: Number of parts that a batch is cut into for gradient accumulation.
        precision: Floating-point precision of the networks; see `Recipe`.
        compile: True to compile the networks with `torch.compile`.
        halving: Successive halving within a cohort: when its worst trials are dropped.
        sampler: Optuna sampler: `tpe`, `gp`, `random` or `qmc`.
        in_order: True to plan a cohort only when the results of those before it are known, in
            their order, so that the same seed gives the same study. False lets no worker wait.
        seed: Seed of the data's split and order, the initial weights and the suggestions.
        seeds: Number of replicates of every trial; the objective is their mean.
        teacher_recipe: Training recipe of a teacher without given weights; by default the
            students'.
        teacher_data: Data set that such a teacher is trained on; by default `data`.
        teacher_weights: File with the teacher's weights: a path or an `s3://` address.
        teacher_sha256: SHA-256 that this file must have.
        workers: Number of Ray Train workers of a cohort. With 0, the Tune actor itself trains it,
            on CPUs. By default 1 if the cluster has GPUs, else 0.
        min_workers: Number of Ray Train workers that suffice to start a cohort, which grows to
            `workers` when there is room (elastic training of Ray Train). After each change of size
            the cohort continues from the last epoch, with the same global batch.
        cpus: Number of CPUs, and of torch threads, of each worker and of the teacher's training.
        gpus: Number of GPUs of each Ray Train worker; by default 1 if the cluster has GPUs, else 0.
        concurrent: Number of cohorts that run at a time; by default as many as fit on the cluster.
        smoke: Fields that `--smoke` replaces, for a run of seconds on made-up data. By default
            `raykd.study.smoke` chooses them.
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
        """Returns the study with some fields replaced.

        If `epochs` changes, the milestones, the warm-up and the rungs of halving move in
        proportion: a schedule is compressed, not cut off.

        Raises:
            ValueError: The study has no field of that name.
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
        """Names of the objectives."""
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
        """Training recipe of the students."""
        names = set(Recipe.__dataclass_fields__)
        return Recipe(**{name: getattr(self, name) for name in names})

    @property
    def distillation(self) -> Distillation:
        """Part of the study that the cohorts need: everything but the search and the resources."""
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
        """Returns the value of each hyperparameter that a trial does not set."""
        optimizer = Component.of(self.optimizer)
        return {
            **{name: parameter.default for name, parameter in optimizer.parameters.items()},
            **optimizer.bound,
            **method_class(self.method).hyperparameters(),
            **Component.of(self.method).bound,
        }

    def left_out(self) -> list[str]:
        """Returns one sentence for each default of a first setting that lies outside of the space.

        The first trial starts from the nearest value in the space instead.
        """
        return left_out(self.first[: self.trials], self.space, self.defaults())

    def search_config(self, concurrent: int) -> SearchConfig:
        """Returns the configuration of the search for the planner.

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
