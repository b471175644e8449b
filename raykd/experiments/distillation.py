"""Distillation: the settings of a study's cohorts, and the runner that trains them in a worker."""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from raykd.data import Data
from raykd.data.replica import Replica
from raykd.experiments.context import WorkerContext
from raykd.experiments.plan import CohortPlan
from raykd.methods import Method
from raykd.store import Folder
from raykd.store.retry import RETRY_SECONDS, retry_until_available
from raykd.train.artefact import Artefacts
from raykd.train.cohort import Cohort, Member, Objective
from raykd.train.component import Component
from raykd.train.halving import Halving
from raykd.train.loop import Row
from raykd.train.pretrain import Source, record
from raykd.train.recipe import Recipe
from raykd.train.teacher import Teacher

MakeData = Callable[..., Data]
MakeModel = Callable[..., nn.Module]
MakeMethod = Callable[..., Method]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Distillation:
    """All settings that affect a cohort's results, except the trials' hyperparameters.

    Attributes:
        data: Factory of the data set.
        teacher: Factory of the teacher's network.
        student: Factory of a student's network.
        method: Factory of the method that is searched.
        references: Factories of the methods that are not searched, by the names of their trials.
        recipe: Recipe with which the students are trained.
        batch_size: Number of samples of a batch, over all workers.
        seed: Seed of the split, the order of the data and the initial weights.
        objective: Metric that decides the best epoch and which students halving drops.
        halving: Rule that drops a cohort's worst trials early; None drops none.
        teacher_recipe: Recipe with which the teacher is trained if it has to be; None for the
            students' recipe.
        teacher_data: Factory of the data on which the teacher is trained; None for the students'.
        teacher_weights: Location of a file with the teacher's weights, a path or an `s3://`
            address; None if there is no such file.
        teacher_sha256: SHA-256 that this file must have, in hex; None accepts any file.
    """

    data: MakeData
    teacher: MakeModel
    student: MakeModel
    method: MakeMethod
    references: Mapping[str, MakeMethod]
    recipe: Recipe
    batch_size: int
    seed: int
    objective: Objective
    halving: Halving | None = None
    teacher_recipe: Recipe | None = None
    teacher_data: MakeData | None = None
    teacher_weights: str | None = None
    teacher_sha256: str | None = None

    def open_data(
        self,
        replicate: int = 0,
        context: WorkerContext | None = None,
        make: MakeData | None = None,
    ) -> Data:
        """Opens the data set for a worker.

        Args:
            replicate: Number of the replicate; 0 for the original.
            context: Context of the worker; by default a single worker on a CPU.
            make: Factory of the data set; the study's by default.
        """
        context = context or WorkerContext()
        data = (make or self.data)(
            batch_size=self.batch_size,
            seed=self.seed,
            device=context.device,
            rank=context.rank,
            world=context.world_size,
        )
        return cast(Data, Replica(data, replicate)) if replicate else data

    def teacher_source(self, data: Data) -> Source:
        """Returns the source of the teacher: a weights file, its factory, or training.

        Args:
            data: The students' data set.

        Raises:
            ValueError: The teacher's data differ from the students' in their classes or shape.
        """
        make = self.teacher
        if self.teacher_weights and Component.of(make).bound.get("weights") is not None:
            make = partial(make, weights=None)  # the given file replaces a download
        make = fitted(make, data)
        teacher_data = self.open_data(make=self.teacher_data) if self.teacher_data else data
        if (teacher_data.classes, teacher_data.shape) != (data.classes, data.shape):
            raise ValueError(
                f"the teacher's data have {teacher_data.classes} classes of shape"
                f" {teacher_data.shape} and the students' {data.classes} of shape {data.shape};"
                " make them agree"
            )
        return Source(
            make=make,
            data={**teacher_data.describe(), "batch_size": self.batch_size},
            recipe=self.teacher_recipe or self.recipe,
            weights=self.teacher_weights,
            sha256=self.teacher_sha256,
            pretrained=Component.of(make).bound.get("weights") is not None,
            seed=self.seed,
        )


@dataclass(frozen=True)
class DistillationRunner:
    """Runs the cohorts of one distillation study in a worker process.

    A process that runs several cohorts opens data and teacher once; they are kept in this object
    and left out when it is pickled.

    Attributes:
        name: Name of the study.
        distillation: Settings of the cohorts.
        folder: Root folder of the store.
        source: Source of the teacher.
        directory: Folder in which the study was started, to which relative paths refer.
        cpus: Number of CPUs of a worker, which uses as many torch threads.
    """

    name: str
    distillation: Distillation
    folder: Folder
    source: Source
    directory: Path
    cpus: float = 1.0
    _kept: dict[str, tuple[Data, Teacher]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state to pickle, without the data and teacher that this process keeps."""
        return {**self.__dict__, "_kept": {}}

    @property
    def threads(self) -> int:
        """Number of torch threads per worker. More threads than CPUs slow each other down."""
        return max(1, int(self.cpus))

    @property
    def retrying(self) -> Folder:
        """Root folder of the store, with failing requests repeated for up to `RETRY_SECONDS`."""
        return self.folder.patient()

    def run(self, plan: CohortPlan, context: WorkerContext) -> Iterator[list[Row]]:
        """Trains a cohort; yields the rows of each epoch once its checkpoint is stored."""
        torch.set_num_threads(self.threads)
        data, teacher = self._opened(plan.replicate, context)
        folder, distillation = self.retrying, self.distillation
        shared = {"teacher": teacher.digest, "data": data.describe()}
        cohort = Cohort(
            name=plan.cohort,
            members=[self._member(plan, i) for i in range(len(plan.trials))],
            student=fitted(distillation.student, data),
            teacher=teacher,
            data=data,
            recipe=distillation.recipe,
            folder=folder.sub(f"{self.name}/checkpoints"),
            artefact=Artefacts(folder, shared),
            device=torch.device(context.device),
            objective=distillation.objective,
            halving=distillation.halving,
            rank=context.rank,
            wrap=context.wrap,
            preempted=context.preempted,
        )
        yield from cohort.run()

    def prepare_teacher(self) -> Iterator[dict[str, Any]]:
        """Trains the teacher unless its weights are given or stored.

        Yields:
            A `Row` as a dictionary after each epoch of the training, and at the end a dictionary
            with the teacher's metrics under `record`.
        """
        torch.set_num_threads(self.threads)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        context = WorkerContext(device=str(device))
        data = self._data(0, context, self.distillation.teacher_data)
        if not self.source.ready(self.retrying):
            for row in self.source.train(self.retrying, data, device):
                yield asdict(row)
        yield {"record": record(self._teacher().to(device), data)}

    def checkpoints(self, plan: CohortPlan) -> Folder:
        """Returns the folder of a cohort's checkpoints."""
        return self.retrying.sub(f"{self.name}/checkpoints/{plan.cohort}")

    def forget(self) -> None:
        """Drops the open data and teacher, which an exception may have left in a bad state.

        The next cohort opens them again.
        """
        self._kept.clear()

    def _member(self, plan: CohortPlan, i: int) -> Member:
        trial = plan.trials[i]
        method, values = self.distillation.method, trial.config
        if trial.number is None:
            name = trial.trial.removesuffix(f"-s{plan.replicate}")
            method, values = self.distillation.references[name], {}
        known = method_class(method).hyperparameters()
        return Member(
            trial=trial.trial,
            method=partial(method, **{k: v for k, v in values.items() if k in known}),
            overrides={k: v for k, v in values.items() if k not in known},
            seed=self.distillation.seed + plan.replicate,
            exempt=trial.role != "search",
        )

    def _data(self, replicate: int, context: WorkerContext, make: MakeData | None = None) -> Data:
        """Opens the data set; retries while its storage is unavailable."""
        ask = partial(self.distillation.open_data, replicate, context, make)
        return retry_until_available(ask, RETRY_SECONDS, logger.warning, "the data")

    def _teacher(self) -> nn.Module:
        """Loads the teacher's network; retries while the storage of its weights is unavailable."""
        ask = partial(self.source.load, self.retrying)
        return retry_until_available(ask, RETRY_SECONDS, logger.warning, "the teacher's weights")

    def _opened(self, replicate: int, context: WorkerContext) -> tuple[Data, Teacher]:
        """Returns data and teacher: those of the previous cohort if they fit, or newly opened."""
        key = repr((replicate, context.device, context.rank, context.world_size))
        if key not in self._kept:
            data = self._data(replicate, context)
            model = self._teacher().to(context.device)
            autocast = self.distillation.recipe.autocast(torch.device(context.device))
            self._kept.clear()
            self._kept[key] = (data, Teacher(model, autocast=autocast))
        return self._kept[key]


def fitted(make: MakeModel, data: Data) -> Callable[[], nn.Module]:
    """Binds `num_classes` and `in_channels` of the data to a model factory that takes them.

    Arguments that are bound already stay as they are.
    """
    component = Component.of(make)
    offered = {"num_classes": data.classes, "in_channels": data.shape[0]}
    asked = {
        name: value
        for name, value in offered.items()
        if component.accepts(name) and name not in component.bound
    }
    return partial(make, **asked)


def method_class(method: MakeMethod) -> type[Method]:
    """Returns the method's class behind any `functools.partial`s.

    Raises:
        ValueError: The factory is not a subclass of `Method`.
    """
    found = Component.of(method).function
    if not (inspect.isclass(found) and issubclass(found, Method)):
        raise ValueError(
            f"{found!r} is no method; give a class of raykd.methods or a partial of it"
        )
    return found


def method_name(method: MakeMethod) -> str:
    """Returns a method's name in the store: the name of its class in lower case."""
    return method_class(method).__name__.lower()
