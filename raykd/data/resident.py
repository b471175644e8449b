"""Base of the data sets of small images, which stay on the device and are augmented there."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from raykd.data.batch import Batch
from raykd.data.stream import check, shares, split
from raykd.data.views import Crop, Normalise, Purpose, random_order


class Contents(NamedTuple):
    """Images of a published data set as 8-bit values, and the class of each image."""

    train: UInt8[Tensor, "N C H W"]
    train_target: Int64[Tensor, "N"]
    test: UInt8[Tensor, "M C H W"]
    test_target: Int64[Tensor, "M"]

    def sha256(self) -> str:
        """Returns the SHA-256 of the contents, in hexadecimal."""
        digest = hashlib.sha256()
        for tensor in self:
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


class Resident(ABC):
    """A data set of small images that implements `Data`.

    All images are kept on the device as bytes. A subclass defines the images (`load`), their
    normalisation (`mean`, `std`) and the augmentation for training (`crop`).

    Args:
        validation: Fraction of the training set that is held out for validation, chosen by `seed`.
        batch_size: Number of samples in a batch over all workers.
        seed: Seed of the split, the order and the augmentation.
        device: Device on which the images are kept.
        rank: Rank of this worker, in `[0, world)`.
        world: Number of workers.

    Raises:
        ValueError: The data can't be split by `validation`, divided into batches of this size, or
            shared by this number of workers; or a label is too large.
    """

    classes: int
    crop: ClassVar[Crop]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(
        self,
        *,
        validation: float = 0.1,
        batch_size: int = 64,
        seed: int = 0,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        contents = self.load()
        classes = 1 + int(torch.cat([contents.train_target, contents.test_target]).max())
        if classes > self.classes:
            raise ValueError(
                f"{type(self).__name__} has {self.classes} classes, but its labels go up to"
                f" {classes - 1}; are these the right files?"
            )
        channels, height, width = contents.train.shape[1:]
        self.shape = (channels, height, width)
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.device = torch.device(device)
        train, held_out = map(torch.from_numpy, split(len(contents.train), validation, seed))
        check(len(train), self.classes, batch_size, seed, rank, world)
        self.targets = contents.train_target[train].to(self.device)
        self._images = self.crop.pad(contents.train[train]).to(self.device)
        self._held_out = self._to_device(contents.train[held_out], contents.train_target[held_out])
        self._test = self._to_device(contents.test, contents.test_target)
        self._normalise = Normalise(self.mean, self.std, self.device)
        self._sha256 = contents.sha256()

    @abstractmethod
    def load(self) -> Contents:
        """Returns the images and classes, on the CPU."""

    @property
    def views(self) -> int:
        """Number of distinct augmentations (views) of a training sample."""
        return self.crop.views

    def __len__(self) -> int:
        """Number of training samples, the validation split not counted."""
        return len(self.targets)

    def view_index(self, epoch: int) -> Int64[Tensor, "N"]:
        """Returns the number of the view, in `[0, views)`, of each training sample in an epoch."""
        return torch.from_numpy(self.crop.choose(self.seed, epoch, len(self))).to(self.device)

    def look(self, index: Int64[Tensor, "B"], view: Int64[Tensor, "B"]) -> Float[Tensor, "B C H W"]:
        """Returns the training samples `index`, augmented by `view` and normalised."""
        return self._normalise(self.crop.apply(self._images, index, view))

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields this worker's share of the batches of an epoch, shuffled and augmented."""
        order = torch.from_numpy(random_order(Purpose.ORDER, self.seed, epoch, len(self)))
        order = order.to(
            self.device
        )  # copied once, so that no batch of the epoch waits for the host
        view = self.view_index(epoch)[order]
        for share in shares(len(self), self.batch_size, self.rank, self.world, start):
            index = order[share]
            yield Batch(index, self.look(index, view[share]), self.targets[index])

    def validation(self) -> Iterator[Batch]:
        """Yields this worker's share of the validation split, without augmentation."""
        return self._unaugmented(*self._held_out)

    def test(self) -> Iterator[Batch]:
        """Yields this worker's share of the test set, without augmentation."""
        return self._unaugmented(*self._test)

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serialisable description of everything that affects results."""
        return {
            "name": type(self).__name__,
            "sha256": self._sha256,
            "classes": self.classes,
            "shape": list(self.shape),
            "train": len(self),
            "validation": len(self._held_out[0]),
            "test": len(self._test[0]),
            "seed": self.seed,
            "crop": asdict(self.crop),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def _to_device(
        self, image: UInt8[Tensor, "N C H W"], target: Int64[Tensor, "N"]
    ) -> tuple[UInt8[Tensor, "N C H W"], Int64[Tensor, "N"]]:
        return image.to(self.device), target.to(self.device)

    def _unaugmented(
        self, image: UInt8[Tensor, "N C H W"], target: Int64[Tensor, "N"]
    ) -> Iterator[Batch]:
        mine = torch.arange(self.rank, len(target), self.world, device=self.device)
        for index in mine.split(max(self.batch_size, 256)):
            yield Batch(index, self._normalise(image[index]), target[index])
