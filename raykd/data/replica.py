"""Replicates of a data set: the same splits in another order."""

from collections.abc import Iterator
from typing import Any

from raykd.data.batch import Batch, Data

REPLICATE_EPOCHS = 1_000_000
"""Distance between the epoch numbers of two replicates; more epochs than any study trains for."""


class Replica:
    """Data in another order and with other views, but with the same splits.

    The teacher was trained on the training split: if replicates held out other samples, it would
    have seen them.

    Args:
        data: The data set.
        replicate: Number of the replicate, from 1.
    """

    def __init__(self, data: Data, replicate: int) -> None:
        self._data, self._replicate = data, replicate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def __len__(self) -> int:
        """Number of training samples."""
        return len(self._data)

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, which differ from those of every other replicate."""
        return self._data.train(epoch + self._replicate * REPLICATE_EPOCHS, start)

    def describe(self) -> dict[str, Any]:
        """Returns the data's description with the number of the replicate."""
        return {**self._data.describe(), "replicate": self._replicate}
