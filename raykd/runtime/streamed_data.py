"""Photographs decoded by Ray Data, on CPUs anywhere in the cluster."""

import json
import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch

from raykd.data.imagenet import ImageNet
from raykd.data.loader import Answers, Ask, Decoded, Decoder
from raykd.runtime.working_directory import enter


class Streamed(ImageNet):
    """`ImageNet` with the same batches, read and decoded by tasks of Ray Data.

    Each task reads the blocks of one batch from the shards and makes its views, which are a pure
    function of (seed, epoch, index), so it does not matter where it runs. Every node must reach
    `root`: pack the images to S3, or to a file system that all nodes share. The tasks need CPUs
    that no cohort has taken: run the cohorts in Ray Train workers (`workers` above 0), and not
    more of them at a time than leave CPUs free.

    The arguments are those of `ImageNet`; `decoders` has no effect.
    """

    def loader(self, decoders: int | None, fork: bool) -> Answers:
        """Returns the loader that decodes batches with Ray Data."""
        return RayLoader(Decoder(self.parts, self.photo))

    def describe(self) -> dict[str, Any]:
        """Returns the same description as `ImageNet`, since results do not depend on the loader."""
        return {**super().describe(), "name": ImageNet.__name__}


class RayLoader:
    """Decodes batches in order, with one Ray Data task for each.

    Args:
        decoder: Decodes one batch; it is sent to the tasks.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._token = uuid.uuid4().hex
        self._directory = Path.cwd()
        self._shared: ray.ObjectRef[Decoder] | None = None

    def __call__(self, asks: Iterable[Ask]) -> Iterator[Decoded]:
        """Yields the decoded batches in the order of the requests."""
        asks = list(asks)
        if not asks:
            return
        if self._shared is None:  # put on first use: the checks of a study run without a cluster
            self._shared = ray.put(self._decoder)
        answer = partial(_answer, self._token, self._directory, [self._shared], [ray.put(asks)])
        dataset = ray.data.range(len(asks), override_num_blocks=len(asks))
        dataset = dataset.map_batches(answer, batch_size=None)
        dataset.context.execution_options.preserve_order = True
        dataset.context.enable_progress_bars = False
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from _unpacked(table)


_kept: dict[str, Decoder] = {}
"""Decoder that a task's process keeps for the next task, by the token of its `RayLoader`."""


def _answer(
    token: str,
    directory: Path,
    decoder: list["ray.ObjectRef[Decoder]"],
    asks: list["ray.ObjectRef[list[Ask]]"],
    batch: dict[str, np.ndarray],
) -> pa.Table:
    """Decodes batches in a Ray Data task.

    The references come in lists so that Ray passes them on without resolving them.
    """
    if token not in _kept:  # keeping the decoder keeps its connection to S3
        _kept.clear()
        enter(directory)
        _kept[token] = ray.get(decoder[0])
    wanted = ray.get(asks[0])
    answers = [_kept[token][wanted[i]] for i in batch["id"].tolist()]
    return pa.table(
        {
            "index": [answer.index.numpy() for answer in answers],
            "target": [answer.target.numpy() for answer in answers],
            "image": pa.array([answer.image.numpy().tobytes() for answer in answers], pa.binary()),
            "size": [answer.image.shape[-1] for answer in answers],
            "damaged": [json.dumps(answer.damaged) for answer in answers],
        }
    )


def _unpacked(table: pa.Table) -> Iterator[Decoded]:
    """Yields the batches of a table that `_answer` returned."""
    for row in range(len(table)):
        size = table["size"][row].as_py()
        octets = np.frombuffer(table["image"][row].as_buffer(), np.uint8).copy()
        index, target = (
            torch.tensor(table[name][row].values.to_numpy(), dtype=torch.int64)
            for name in ("index", "target")
        )
        image = torch.from_numpy(octets).view(-1, 3, size, size)
        damaged = [(name, reason) for name, reason in json.loads(table["damaged"][row].as_py())]
        yield Decoded(index, image, target, damaged)
