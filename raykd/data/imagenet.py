"""ImageNet, or photographs of your own, in folders or in Parquet shards."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Int64

from raykd.data.batch import Batch
from raykd.data.loader import Answers, Ask, Decoded, Loader, Part
from raykd.data.photo import Photo
from raykd.data.source import Source, block, open_splits
from raykd.data.stream import Stream, block_order, check, shares, split
from raykd.data.views import Normalise
from raykd.storable import storable

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels, used for all images."""
TEST = 0.1
"""Fraction of `train/` that becomes the test set if there is no other."""

logger = logging.getLogger(__name__)


@storable("size", "validation")
class Images:
    """Images in a folder `train/` with a folder for each class, as a data set (`Data`).

    Images are JPEG, PNG or WebP files; of an animation the first frame is read. Other files are
    left out and named in a warning (see `raykd.data.folder`).

    The test set is `test/`; if that is missing, `val/` (or `valid/`, `validation/`); if that is
    missing too, a tenth of `train/`, the same for every seed. The validation split is `val/` if
    that is not the test set; otherwise the seed chooses it from `train/`. Training uses random
    resized crops and flips, evaluation uses centre crops.

    Args:
        root: The folder, or the result of `raykd pack`: a local path or `s3://bucket/prefix`.
        size: Height and width of the networks' input, in pixels.
        validation: Fraction of the training set that is held out for validation.
        decoders: Number of processes that read and decode; with 0 this process does. By default
            this worker's share of the CPUs.
        on_damaged: "raise" for an error at the first image that can't be decoded; "skip" to leave
            such images out, log their names and record them in `damaged`.
        stream: Batch size, seed, device, rank and number of workers; see `Stream`.

    Raises:
        UnavailableError: The storage fails.
        ValueError: An argument is out of range, files are missing or damaged, the splits don't
            have the same classes, or the samples can't be divided into batches of this size and
            shared by this number of workers.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        size: int = 224,
        validation: float = 0.1,
        decoders: int | None = None,
        on_damaged: str = "raise",
        **stream: Unpack[Stream],
    ) -> None:
        if on_damaged not in ("raise", "skip"):
            raise ValueError(f"on_damaged is {on_damaged!r}; known: raise, skip")
        if size < 1:
            raise ValueError(f"size is {size}; it must be at least 1")
        self.batch_size, self.seed = stream.get("batch_size", 64), stream.get("seed", 0)
        self.rank, self.world = stream.get("rank", 0), stream.get("world", 1)
        self.device = torch.device(stream.get("device", "cpu"))
        self.shape = (3, size, size)
        self.photo = Photo(size, self.seed)
        self.damaged: dict[str, str] = {}
        """Reason for each image that was skipped, by the image's name."""
        self._on_damaged = on_damaged
        self.parts = _parts(str(root), validation, self.seed)
        """Sources and positions of the samples of `train`, `validation` and `test`."""
        source, position = self.parts["train"]
        self.classes = len(source.classes)
        check(len(position), self.classes, self.batch_size, self.seed, self.rank, self.world)
        self.targets = torch.from_numpy(source.target[position]).to(self.device)
        local = "://" not in str(root)
        self._load = self.loader(decoders, fork=local)
        self._normalise = Normalise(MEAN, STD, self.device)

    def __len__(self) -> int:
        """Number of training samples, the validation split not counted."""
        return len(self.targets)

    def order(self, epoch: int) -> Int64[np.ndarray, "N"]:
        """Returns the order of the training samples in an epoch."""
        source, position = self.parts["train"]
        return block_order(position, block(len(source.target)), self.seed, epoch)

    def loader(self, decoders: int | None, fork: bool) -> Answers:
        """Returns the loader that reads and decodes batches, with processes on this machine."""
        return Loader(self.parts, self.photo, decoders, self.world, self.device, fork=fork)

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields this worker's share of the batches of an epoch, shuffled and augmented."""
        order = self.order(epoch)
        shared = shares(len(order), self.batch_size, self.rank, self.world, start)
        for decoded in self._load([Ask("train", epoch, order[share]) for share in shared]):
            batch = self._batch(decoded)
            if not len(batch.index):
                raise ValueError(
                    f"all images of a batch are damaged, {decoded.damaged[0][0]} among them;"
                    " repair or delete them"
                )
            yield batch

    def validation(self) -> Iterator[Batch]:
        """Yields this worker's share of the validation split, as centre crops."""
        return self._centres("validation")

    def test(self) -> Iterator[Batch]:
        """Yields this worker's share of the test set, as centre crops."""
        return self._centres("test")

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serialisable description of everything that affects results."""
        return {
            "name": type(self).__name__,
            "sha256": {split: part.source.sha256 for split, part in self.parts.items()},
            "classes": self.classes,
            "shape": list(self.shape),
            **{split: len(part.position) for split, part in self.parts.items()},
            "seed": self.seed,
            "photo": self.photo.describe(),
            "mean": list(MEAN),
            "std": list(STD),
            "on_damaged": self._on_damaged,
        }

    def _centres(self, split: str) -> Iterator[Batch]:
        count = len(self.parts[split].position)
        first, last = (count * rank // self.world for rank in (self.rank, self.rank + 1))
        starts = range(first, last, self.batch_size)
        asks = [
            Ask(split, None, np.arange(start, min(start + self.batch_size, last)))
            for start in starts
        ]
        for decoded in self._load(asks):
            if len(decoded.index):
                yield self._batch(decoded)
            else:
                self._note(decoded)

    def _batch(self, decoded: Decoded) -> Batch:
        self._note(decoded)
        index, image, target = (tensor.to(self.device, non_blocking=True) for tensor in decoded[:3])
        return Batch(index, self._normalise(image), target)

    def _note(self, decoded: Decoded) -> None:
        for name, reason in decoded.damaged:
            if self._on_damaged == "raise":
                raise ValueError(
                    f"the image {name} is damaged ({reason}); repair or delete it, or pass"
                    " on_damaged='skip'"
                )
            if name not in self.damaged:
                self.damaged[name] = reason
                logger.warning("skipped damaged image %d: %s (%s)", len(self.damaged), name, reason)


@storable("size", "validation")
class ImageNet(Images):
    """ILSVRC 2012: 1.28 million photographs in 1,000 classes; `val/` is the test set.

    By default 4 % of `train/`, about as many images as `val/` has, are held out for validation. The
    arguments are those of `Images`.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        size: int = 224,
        validation: float = 0.04,
        decoders: int | None = None,
        on_damaged: str = "raise",
        **stream: Unpack[Stream],
    ) -> None:
        super().__init__(
            root,
            size=size,
            validation=validation,
            decoders=decoders,
            on_damaged=on_damaged,
            **stream,
        )


def _parts(root: str, validation: float, seed: int) -> dict[str, Part]:
    """Returns the samples of the three splits, which come from one, two or three sources."""
    sources = open_splits(root)
    for name, source in sources.items():
        _check_classes(sources["train"], source, name)
    whole = {name: Part(source, np.arange(len(source.target))) for name, source in sources.items()}
    if len(sources) == 3:
        return {"train": whole["train"], "validation": whole["val"], "test": whole["test"]}
    train, position = whole.pop("train")
    count = len(position) if whole else len(position) - max(1, round(TEST * len(position)))
    [test] = whole.values() or [Part(train, position[count:])]
    kept, held_out = split(count, validation, seed, block(len(position)))
    return {"train": Part(train, kept), "validation": Part(train, held_out), "test": test}


def _check_classes(train: Source, other: Source, name: str) -> None:
    lacks = sorted(set(train.classes) - set(other.classes))
    extra = sorted(set(other.classes) - set(train.classes))
    if lacks or extra:
        raise ValueError(
            f"train has {len(train.classes)} classes and {name} has {len(other.classes)}, and they"
            f" are not the same: only in train {lacks[:3]}, only in {name} {extra[:3]}"
        )
