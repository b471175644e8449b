"""Distillation: what the cohorts of a study train, and how a worker process runs one of them."""

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
    """Everything that a cohort's numbers depend on but the trials' own hyperparameters.

    Attributes:
        data: Makes the data set.
        teacher: Makes the teacher's network.
        student: Makes a student's network.
        method: Makes the method that is searched.
        references: Makes the methods that are not searched, by the names of their trials.
        recipe: How the students are optimised.
        batch_size: Samples of a batch, over all workers.
        seed: Seed of the split, the order and the initial weights.
        objective: Decides the best epoch and what halving drops.
        halving: When a cohort drops its worst trials, if at all.
        teacher_recipe: How the teacher is trained if it has to be; None to train it as a student.
        teacher_data: Makes the data that the teacher is trained on; None for the students' data.
        teacher_weights: A file with the teacher's weights, a path or `s3://`.
        teacher_sha256: SHA-256 that this file must have.
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
        """Opens the data for a worker.

        Args:
            replicate: Number of the replicate; 0 for the first.
            context: The worker; the only one, on a CPU, by default.
            make: Makes other data than the study's.
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
        """Returns where the teacher comes from: a file, its factory, or training.

        Raises:
            ValueError: It is trained on data that do not fit the students'.
        """
        make = self.teacher
        if self.teacher_weights and Component.of(make).bound.get("weights") is not None:
            make = partial(make, weights=None)  # a given file replaces what would be fetched
        make = fitted(make, data)
        taught = self.open_data(make=self.teacher_data) if self.teacher_data else data
        if (taught.classes, taught.shape) != (data.classes, data.shape):
            raise ValueError(
                f"the teacher's data have {taught.classes} classes of shape {taught.shape} and the"
                f" students' {data.classes} of shape {data.shape}; make them agree"
            )
        return Source(
            make=make,
            data={**taught.describe(), "batch_size": self.batch_size},
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
        name: The study's name.
        distillation: What the cohorts train.
        folder: The store's root.
        source: Where the teacher comes from.
        directory: The folder in which the study was started, to which relative paths refer.
        cpus: CPUs of a worker, which uses as many torch threads.
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
        """Leaves out what this process keeps."""
        return {**self.__dict__, "_kept": {}}

    @property
    def threads(self) -> int:
        """Number of torch threads per worker. More threads than CPUs slow each other down."""
        return max(1, int(self.cpus))

    @property
    def retrying(self) -> Folder:
        """The store's root; a request that fails is repeated for a quarter of an hour."""
        return self.folder.patient()

    def run(self, plan: CohortPlan, context: WorkerContext) -> Iterator[list[Row]]:
        """Trains a cohort; yields the rows of each epoch once its checkpoint is stored."""
        torch.set_num_threads(self.threads)
        data, teacher = self._opened(plan.replicate, context)
        folder, of = self.retrying, self.distillation
        shared = {"teacher": teacher.digest, "data": data.describe()}
        cohort = Cohort(
            name=plan.cohort,
            members=[self._member(plan, i) for i in range(len(plan.trials))],
            student=fitted(of.student, data),
            teacher=teacher,
            data=data,
            recipe=of.recipe,
            folder=folder.sub(f"{self.name}/checkpoints"),
            artefact=Artefacts(folder, shared),
            device=torch.device(context.device),
            objective=of.objective,
            halving=of.halving,
            rank=context.rank,
            wrap=context.wrap,
            preempted=context.preempted,
        )
        yield from cohort.run()

    def prepare_teacher(self) -> Iterator[dict[str, Any]]:
        """Trains the teacher unless that has been done.

        Yields:
            `Row`s as dictionaries while it is trained, and then its metrics under `record`.
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
        """Opens data and teacher anew for the next cohort: an exception may have broken them."""
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
        """Opens data, and again while their storage fails."""
        ask = partial(self.distillation.open_data, replicate, context, make)
        return retry_until_available(ask, RETRY_SECONDS, logger.warning, "the data")

    def _teacher(self) -> nn.Module:
        """Loads the teacher, and again while the storage of its weights fails."""
        ask = partial(self.source.load, self.retrying)
        return retry_until_available(ask, RETRY_SECONDS, logger.warning, "the teacher's weights")

    def _opened(self, replicate: int, context: WorkerContext) -> tuple[Data, Teacher]:
        """Returns data and teacher, opened for this cohort or kept from the one before."""
        key = repr((replicate, context.device, context.rank, context.world_size))
        if key not in self._kept:
            data = self._data(replicate, context)
            model = self._teacher().to(context.device)
            autocast = self.distillation.recipe.autocast(torch.device(context.device))
            self._kept.clear()
            self._kept[key] = (data, Teacher(model, autocast=autocast))
        return self._kept[key]


def fitted(make: MakeModel, data: Data) -> Callable[[], nn.Module]:
    """Binds what a model factory asks for of the data: `num_classes` and `in_channels`."""
    component = Component.of(make)
    offered = {"num_classes": data.classes, "in_channels": data.shape[0]}
    asked = {
        name: value
        for name, value in offered.items()
        if component.accepts(name) and name not in component.bound
    }
    return partial(make, **asked)


def method_class(method: MakeMethod) -> type[Method]:
    """Returns the class behind any partials.

    Raises:
        ValueError: It is no method.
    """
    found = Component.of(method).function
    if not (inspect.isclass(found) and issubclass(found, Method)):
        raise ValueError(
            f"{found!r} is no method; give a class of raykd.methods or a partial of it"
        )
    return found


def method_name(method: MakeMethod) -> str:
    """Returns the method's name in the store: its class's, in small letters."""
    return method_class(method).__name__.lower()
