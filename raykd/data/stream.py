"""Splits, orders and batches of samples, and the share of each worker."""

from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray

from raykd.data.views import Purpose, random_words


class Stream(TypedDict, total=False):
    """The keyword arguments that all data sets share."""

    batch_size: int
    """Number of samples in a batch over all workers; the last batch of an epoch may be smaller."""
    seed: int
    """Seed of the split, the order and the augmentation."""
    device: str | torch.device
    """Device of the batches."""
    rank: int
    """Rank of this worker, in `[0, world)`."""
    world: int
    """Number of workers."""


def split(
    count: int, validation: float, seed: int, block: int = 1
) -> tuple[Int64[np.ndarray, "T"], Int64[np.ndarray, "V"]]:
    """Returns the positions of the training and of the validation samples, each sorted.

    If data are read in blocks, whole blocks are held out for validation.

    Args:
        count: Number of samples.
        validation: Fraction of the samples that is held out for validation.
        seed: Seed of the split.
        block: Number of consecutive samples that are read together.

    Raises:
        ValueError: `validation` is not in `[0, 1)`, or one of the two splits would be empty.
    """
    if not 0 <= validation < 1:
        raise ValueError(
            f"validation is {validation}; it is the fraction of the training set that is held out:"
            " at least 0 and below 1"
        )
    held_out = round(validation * count / block) * block
    if held_out == count or (validation > 0 and held_out == 0):
        raise ValueError(
            f"a validation split of {validation} of {count} samples leaves"
            f" {count - held_out} for training and {held_out} for validation; change the fraction"
        )
    order = block_order(np.arange(count), block, seed, 0, Purpose.SPLIT)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def block_order(
    position: Int64[np.ndarray, "N"],
    block: int,
    seed: int,
    epoch: int,
    purpose: Purpose = Purpose.ORDER,
) -> Int64[np.ndarray, "N"]:
    """Returns a random order of the samples in which those of the same block stay together.

    Sample `i` is at `position[i]` of the source; each `block` consecutive positions form a block.
    """
    number = position // block
    words = random_words(purpose, seed, epoch, int(number.max()) + 1)
    order: NDArray[np.int64] = np.argsort(words[number], kind="stable")
    return order


def check(count: int, classes: int, batch_size: int, seed: int, rank: int, world: int) -> None:
    """Checks that `count` training samples can be divided into batches and shared by the workers.

    Raises:
        ValueError: They can't, or a number is out of range; the message says why.
    """
    if classes < 2:
        raise ValueError(f"the data has {classes} class; at least 2 are needed")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    if not 0 <= rank < world:
        raise ValueError(f"rank is {rank} of {world} workers; it must be in [0, {world})")
    if world > count:
        raise ValueError(f"there are {world} workers and {count} training samples; use fewer")
    if not 1 <= batch_size <= count:
        raise ValueError(
            f"batch size is {batch_size}; it must be between 1 and the number of training samples,"
            f" {count}"
        )
    smallest = count % batch_size or batch_size
    if smallest < world:
        raise ValueError(
            f"a batch of {smallest} samples can't be shared by {world} workers: {count} training"
            f" samples come in batches of {batch_size}; use fewer workers or another batch size"
        )


def shares(count: int, batch_size: int, rank: int, world: int, start: int = 0) -> Iterator[slice]:
    """Yields the worker's contiguous share of each global batch, as a slice of the order.

    The first `start` batches are skipped.
    """
    for first in range(start * batch_size, count, batch_size):
        size = min(batch_size, count - first)
        yield slice(first + size * rank // world, first + size * (rank + 1) // world)
