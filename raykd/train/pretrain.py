"""Sources of a teacher: weights from a file or factory, or a training that is done once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raykd.data import Data
from raykd.methods.vanilla import Vanilla
from raykd.models.weights import load_weights
from raykd.store import Folder, StoreError
from raykd.train.artefact import Artefacts
from raykd.train.cohort import Cohort, Member, Objective
from raykd.train.component import describe
from raykd.train.evaluate import evaluate
from raykd.train.loop import Row
from raykd.train.recipe import Recipe


class TeacherError(RuntimeError):
    """The teacher could not be trained; the message says why."""


@dataclass(frozen=True)
class Source:
    """Loads a teacher from given weights, or trains and stores it.

    Args:
        make: Factory of the network, which is already trained if `pretrained` is True.
        data: Description of the data that the teacher is trained on, from `Data.describe`.
        recipe: Recipe to train the teacher with if it has no given weights.
        weights: Location of a file with the weights, a path or an `s3://` address; see
            `raykd.models.weights`.
        sha256: SHA-256 that the file must have, in hex; None accepts any file.
        pretrained: True if `make` returns a trained network, as torchvision's factories can.
        seed: Seed of the training.
    """

    make: Callable[[], nn.Module]
    data: dict[str, Any]
    recipe: Recipe
    weights: str | None = None
    sha256: str | None = None
    pretrained: bool = False
    seed: int = 0

    @property
    def trained_here(self) -> bool:
        """True if raykd trains this teacher itself."""
        return self.weights is None and not self.pretrained

    def key(self) -> dict[str, Any]:
        """Returns all that the trained weights depend on, which identifies them in the store."""
        recipe = self.recipe.describe()
        return {
            "model": describe(self.make),
            "data": self.data,
            "recipe": recipe,
            "seed": self.seed,
        }

    def ready(self, folder: Folder) -> bool:
        """Returns True if there is nothing to train: weights are given, or are already stored."""
        path = Artefacts(folder).path("teacher", self.key())
        return not self.trained_here or folder.exists(f"{path}/artefact.json")

    def train(self, folder: Folder, data: Data, device: torch.device) -> Iterator[Row]:
        """Trains the teacher and stores its weights; yields a row after each epoch.

        A training that was interrupted continues from its last checkpoint.

        Raises:
            TeacherError: The training diverged, or the network or optimizer raised an exception.
        """
        artefacts = Artefacts(folder)
        path = artefacts.path("teacher", self.key())
        cohort = Cohort(
            name="training",
            members=[Member("teacher", Vanilla, seed=self.seed)],
            student=self.make,
            teacher=None,
            data=data,
            recipe=self.recipe,
            folder=folder.sub(path),
            artefact=artefacts,
            device=device,
            objective=Objective(),
        )
        for [row] in cohort.run():
            if not row.metrics:
                raise TeacherError(f"the teacher's training failed: {row.reason}")
            yield row
            if row.state == "FAIL":
                raise TeacherError(
                    f"the teacher's training failed: {row.reason}; give teacher_recipe a lower"
                    " learning rate, or teacher_weights"
                )
        weights = folder.read(f"{path}/teacher/last.safetensors")
        artefacts("teacher", self.key(), lambda: _tensors(weights))
        for leftover in ("training", "teacher"):
            folder.delete_all(f"{path}/{leftover}")

    def load(self, folder: Folder) -> nn.Module:
        """Returns the trained teacher, on the CPU.

        Raises:
            ValueError: The given weights don't fit the network, or aren't the expected file.
            StoreError: The stored weights don't fit the network.
        """
        model = self.make()
        if self.weights is not None:
            load_weights(model, self.weights, sha256=self.sha256)
        elif not self.pretrained:
            artefacts = Artefacts(folder)
            trained = artefacts("teacher", self.key(), _untrained)
            try:
                model.load_state_dict(trained)
            except RuntimeError as error:
                raise StoreError(
                    f"the teacher in {artefacts.path('teacher', self.key())} does not fit"
                    f" {type(model).__name__}: it was changed after it was trained; delete that"
                    " folder to have it trained again"
                ) from error
        return model


def record(model: nn.Module, data: Data) -> dict[str, float]:
    """Returns a teacher's metrics for the record.

    These are those of `evaluate` with the prefixes `val_` and `test_`, for the two splits, and
    `params`, its number of parameters.
    """
    [val] = evaluate([model], data.validation())
    [test] = evaluate([model], data.test())
    return {
        **{f"val_{name}": value for name, value in val.items()},
        **{f"test_{name}": value for name, value in test.items()},
        "params": float(sum(p.numel() for p in model.parameters())),
    }


def _tensors(data: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    tensors: dict[str, Tensor] = load(data)
    return tensors


def _untrained() -> dict[str, Tensor]:
    raise RuntimeError("the teacher was asked for before it was trained")
