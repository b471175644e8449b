"""Gaussian noise instead of images, for distillation without data."""

from collections.abc import Callable, Iterator
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raykd.data.batch import Batch, Data
from raykd.data.stream import Stream, check, shares
from raykd.data.views import Purpose, random_words
from raykd.storable import storable


@storable("real", "samples", "std")
class Noise:
    """Independent normal values in the shape of a normalised image, as a data set (`Data`).

    A sample is a function of (seed, epoch, index), so it doesn't depend on the batch size or the
    number of workers. All targets are 0. The validation split and the test set are those of a real
    data set, which training never uses. They are for reporting only, since distillation without
    data has none for selection.

    Args:
        real: Factory of the data set for evaluation; it is called with `stream` too.
        samples: Number of samples in an epoch; the default of 50,000 (196 batches of 256) is that
            of the published code.
        std: Standard deviation of the values; the default of 1 is the published one.
        stream: Batch size, seed, device, rank and number of workers; see `Stream`.

    Raises:
        ValueError: `samples` or `std` is out of range, or the samples can't be divided into
            batches of this size and shared by this number of workers.
    """

    def __init__(
        self,
        *,
        real: Callable[..., Data],
        samples: int = 50_000,
        std: float = 1.0,
        **stream: Unpack[Stream],
    ) -> None:
        if samples < 1:
            raise ValueError(f"samples is {samples}; it must be at least 1")
        if std <= 0:
            raise ValueError(f"std is {std}; it must be above 0")
        self.real = real(**stream)
        self.classes, self.shape = self.real.classes, self.real.shape
        self.samples, self.std = samples, std
        self.batch_size, self.seed = self.real.batch_size, stream.get("seed", 0)
        self.rank, self.world = stream.get("rank", 0), stream.get("world", 1)
        self.device = torch.device(stream.get("device", "cpu"))
        check(samples, self.classes, self.batch_size, self.seed, self.rank, self.world)
        self.targets = torch.zeros(samples, dtype=torch.int64, device=self.device)

    def __len__(self) -> int:
        """Number of samples in an epoch."""
        return self.samples

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields this worker's share of the batches of an epoch."""
        for share in shares(self.samples, self.batch_size, self.rank, self.world, start):
            index = torch.arange(share.start, share.stop, device=self.device)
            yield Batch(
                index, self._draw(epoch, range(share.start, share.stop)), self.targets[index]
            )

    def validation(self) -> Iterator[Batch]:
        """Yields this worker's share of the real data's validation split."""
        return self.real.validation()

    def test(self) -> Iterator[Batch]:
        """Yields this worker's share of the real data's test set."""
        return self.real.test()

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serialisable description of everything that affects results."""
        return {
            "name": type(self).__name__,
            "samples": self.samples,
            "std": self.std,
            "seed": self.seed,
            "evaluated_on": self.real.describe(),
        }

    def _draw(self, epoch: int, index: range) -> Float[Tensor, "B C H W"]:
        """Returns normal values by the Box–Muller transform; each random word gives two of them."""
        count = int(np.prod(self.shape))
        words = [
            random_words(Purpose.VIEW, self.seed, epoch, -(-count // 2), i).astype("<u8")
            for i in index
        ]
        halves = torch.from_numpy(np.stack(words).view("<i4")).to(self.device)
        uniform = ((halves.double() + 0.5) / 2**32 + 0.5).view(len(index), -1, 2)
        radius = (-2 * uniform[..., 0].log()).sqrt()
        angle = 2 * torch.pi * uniform[..., 1]
        normal = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count]
        return (self.std * normal).float().view(len(index), *self.shape)
