"""Replicates of a data set, with the same splits in another order."""

from collections.abc import Iterator
from typing import Any

from raykd.data.batch import Batch, Data

REPLICATE_EPOCHS = 1_000_000
"""Distance between the epoch numbers of two replicates.

It is larger than the number of epochs of any study, so the epochs of replicates never coincide.
"""


class Replica:
    """A data set in another order and with other augmentation, but with the same splits.

    The splits are the same because the teacher was trained on the training split: if a replicate
    held out other samples for validation, the teacher would have seen them.

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
        """Yields the batches of an epoch; they differ from those of every other replicate."""
        return self._data.train(epoch + self._replicate * REPLICATE_EPOCHS, start)

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data set, with the number of the replicate added."""
        return {**self._data.describe(), "replicate": self._replicate}
