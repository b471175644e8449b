"""The batches of a data set, and the protocol that a data set must follow."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor


class Batch(NamedTuple):
    """A batch of B samples on the device.

    Attributes:
        index: Position of each sample in its split; it identifies the sample in every epoch and is
            in `[0, len(data))` for training samples.
        input: Input of the networks: normalised, and augmented in training.
        target: Class of each sample.
    """

    index: Int64[Tensor, "B"]  # type: ignore[assignment]  # it hides tuple.index
    input: Float[Tensor, "B ..."]
    target: Int64[Tensor, "B"]


@runtime_checkable
class Data(Protocol):
    """A data set with three splits; the validation split is taken from the training set.

    The constructor has the keyword arguments `batch_size`, `seed`, `device`, `rank` and `world`, in
    addition to the data set's own. With `world > 1`, `batch_size` is that of the global batch, and
    worker `rank` yields its share of it. A sample depends only on (seed, epoch, index).
    """

    classes: int
    shape: tuple[int, int, int]
    """Channels, height and width of an input."""
    batch_size: int
    targets: Int64[Tensor, "N"]
    """Class of each training sample, in the order of `Batch.index`."""

    def __len__(self) -> int:
        """Number of training samples, the validation split not counted."""

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the augmented batches of an epoch, beginning with batch `start`.

        Epochs and batches are counted from 0.
        """

    def validation(self) -> Iterator[Batch]:
        """Yields the validation split, without augmentation."""

    def test(self) -> Iterator[Batch]:
        """Yields the test set, without augmentation; for final results, never for selection."""

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serialisable description of everything that affects results.

        These are name, contents, split, augmentation and seed, but not the folder, the device or
        the number of workers.
        """
