"""What all cohorts of a study share, as it travels to where they are taught."""

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from raykd.data import Batch, Data
from raykd.store import Folder
from raykd.store.patience import PATIENCE_SECONDS, patiently
from raykd.study.plan import Plan
from raykd.study.study import MakeData, MakeMethod, Study, bound, method_class
from raykd.train.artefact import Artefacts
from raykd.train.cohort import Cohort, Member
from raykd.train.loop import Row
from raykd.train.pretrain import Source
from raykd.train.student import Wrap
from raykd.train.teacher import Teacher

logger = logging.getLogger(__name__)

REPLICA_EPOCHS = 1_000_000


@dataclass(frozen=True)
class Place:
    """Where a worker teaches: its device, its number, how many there are, and for how long."""

    device: str = "cpu"
    rank: int = 0
    world: int = 1
    wrap: Wrap = lambda module: module
    noticed: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Lesson:
    """A study without its search: enough to teach any of its cohorts.

    Args:
        study: Whose cohorts these are.
        folder: The store's root.
        source: Where the teacher comes from.
        description: Of the data, as `Data.describe` says.
        directory: Where the study was started, which relative paths in it refer to.
    """

    study: Study
    folder: Folder
    source: Source
    description: dict[str, Any]
    directory: Path

    @property
    def threads(self) -> int:
        """Of torch's, in whatever teaches or trains: more wait for each other on a busy machine."""
        return max(1, int(self.study.cpus))

    @property
    def patient(self) -> Folder:
        """The store's root, which is waited for when it fails; then Ray starts again elsewhere."""
        return self.folder.patient()

    def data(self, replicate: int, place: Place, make: MakeData | None = None) -> Data:
        """Opens data, and again while their storage fails."""
        ask = partial(open_data, self.study, replicate, place, make)
        return patiently(ask, PATIENCE_SECONDS, logger.warning, "the data")

    def teacher(self) -> nn.Module:
        """Loads the teacher, and again while the storage of its weights fails."""
        ask = partial(self.source.load, self.patient)
        return patiently(ask, PATIENCE_SECONDS, logger.warning, "the teacher's weights")

    def teach(self, plan: Plan, place: Place) -> Iterator[list[Row]]:
        """Teaches a cohort; yields the rows of each epoch once they can be gone on from."""
        torch.set_num_threads(self.threads)
        data, teacher = self._room(plan.replicate, place)
        folder = self.patient
        shared = {"teacher": teacher.digest, "data": data.describe()}
        cohort = Cohort(
            name=plan.cohort,
            members=[self._member(plan, i) for i in range(len(plan.settings))],
            student=fitted(self.study.student, data),
            teacher=teacher,
            data=data,
            recipe=self.study.recipe,
            folder=folder.sub(f"{self.study.name}/checkpoints"),
            artefact=Artefacts(folder, shared),
            device=torch.device(place.device),
            goal=self.study.goal,
            halving=self.study.halving,
            rank=place.rank,
            wrap=place.wrap,
            noticed=place.noticed,
        )
        yield from cohort.run()

    def checkpoints(self, plan: Plan) -> Folder:
        """The folder of a cohort's checkpoints."""
        folder = self.folder.patient(PATIENCE_SECONDS)
        return folder.sub(f"{self.study.name}/checkpoints/{plan.cohort}")

    def forget(self) -> None:
        """Opens data and teacher anew for the next cohort: an exception may have broken them."""
        _kept.clear()

    def _member(self, plan: Plan, i: int) -> Member:
        setting = plan.settings[i]
        method = self.study.method
        if setting.number is None:
            method = self._reference(setting.trial.removesuffix(f"-s{plan.replicate}"))
        values = setting.config if setting.number is not None else {}
        known = method_class(method).hyperparameters()
        return Member(
            trial=setting.trial,
            method=partial(method, **{k: v for k, v in values.items() if k in known}),
            overrides={k: v for k, v in values.items() if k not in known},
            seed=self.study.seed + plan.replicate,
            spared=setting.role != "search",
        )

    def _reference(self, trial: str) -> MakeMethod:
        settings = self.study.question(concurrent=1).references
        names = [setting.trial for setting in settings]
        return self.study.references[names.index(trial)]

    def _room(self, replicate: int, place: Place) -> tuple[Data, Teacher]:
        """Data and teacher, which a reused process keeps from the cohort before."""
        source = self.source.key(), self.source.weights, self.source.sha256
        told = (self.folder.uri, self.description, source, replicate, place.rank, place.world)
        key = hashlib.sha256(repr(told).encode()).hexdigest()
        if key not in _kept:
            data = self.data(replicate, place)
            model = self.teacher().to(place.device)
            autocast = self.study.recipe.autocast(torch.device(place.device))
            _kept.clear()
            _kept[key] = (data, Teacher(model, autocast=autocast))
        return _kept[key]


_kept: dict[str, tuple[Data, Teacher]] = {}


def open_data(
    study: Study, replicate: int = 0, place: Place | None = None, make: MakeData | None = None
) -> Data:
    """Opens the study's data for a worker, or those that `make` makes."""
    place = place or Place()
    data = (make or study.data)(
        batch_size=study.batch_size,
        seed=study.seed,
        device=place.device,
        rank=place.rank,
        world=place.world,
    )
    return cast(Data, Replica(data, replicate)) if replicate else data


class Replica:
    """Data in another order and other views, but with the same splits.

    The teacher was trained on the training split: if replicates held out other samples, it would
    have seen them.
    """

    def __init__(self, data: Data, replicate: int) -> None:
        self._data, self._replicate = data, replicate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def __len__(self) -> int:
        """Number of training samples."""
        return len(self._data)

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch that no other replicate comes to."""
        return self._data.train(epoch + self._replicate * REPLICA_EPOCHS, start)

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {**self._data.describe(), "replicate": self._replicate}


def fitted(make: Callable[..., nn.Module], data: Data) -> Callable[[], nn.Module]:
    """Binds what a model factory asks for of the data: `num_classes` and `in_channels`."""
    asked = inspect.signature(make).parameters
    offered = {"num_classes": data.classes, "in_channels": data.shape[0]}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in asked.values())
    known = {k: v for k, v in offered.items() if (k in asked or takes_all) and k not in bound(make)}
    return partial(make, **known)


def source_of(study: Study, data: Data) -> Source:
    """Where the study's teacher comes from.

    Raises:
        ValueError: It is trained on data that do not fit the students'.
    """
    teacher = study.teacher
    if study.teacher_weights and bound(teacher).get("weights") is not None:
        teacher = partial(teacher, weights=None)  # a given file replaces what would be fetched
    make = fitted(teacher, data)
    taught = open_data(study, make=study.teacher_data) if study.teacher_data else data
    if (taught.classes, taught.shape) != (data.classes, data.shape):
        raise ValueError(
            f"the teacher's data have {taught.classes} classes of shape {taught.shape} and the"
            f" students' {data.classes} of shape {data.shape}; make them agree"
        )
    return Source(
        make=make,
        data={**taught.describe(), "batch_size": study.batch_size},
        recipe=study.teacher_recipe or study.recipe,
        weights=study.teacher_weights,
        sha256=study.teacher_sha256,
        pretrained=bound(make).get("weights") is not None,
        seed=study.seed,
    )
