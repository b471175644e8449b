"""What a data set yields, and what raykd asks of a data set."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor


class Batch(NamedTuple):
    """B samples, already on the device.

    Attributes:
        index: Position of each sample in its split: a stable name, `[0, len(data))` in training.
        input: What the networks see: augmented and normalised.
        target: Class of each sample.
    """

    index: Int64[Tensor, "B"]  # type: ignore[assignment]  # it hides tuple.index
    input: Float[Tensor, "B ..."]
    target: Int64[Tensor, "B"]


@runtime_checkable
class Data(Protocol):
    """A data set in three splits. The validation split is taken from the training set.

    The constructor takes `batch_size`, `seed`, `device`, `rank` and `world` by keyword, beside
    what is the data set's own. With `world > 1`, worker `rank` gets its share of each batch:
    `batch_size` is the global one. What is yielded depends on (seed, epoch, index) alone.
    """

    classes: int
    shape: tuple[int, int, int]
    """Channels, height, width of an input."""
    batch_size: int
    targets: Int64[Tensor, "N"]
    """Class of each training sample, in the order of `Batch.index`."""

    def __len__(self) -> int:
        """Number of training samples, the validation split not counted."""

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch (both counted from 0) from `start` on, augmented."""

    def validation(self) -> Iterator[Batch]:
        """Yields the validation split, as it is."""

    def test(self) -> Iterator[Batch]:
        """Yields the test set, as it is: for the record, never to choose by."""

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on, as JSON: name, contents, split, augmentation, seed.

        Not the folder, the device or the number of workers.
        """
