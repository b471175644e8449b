"""Reads and decodes batches of photographs, in processes of its own."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from raykd.data.photo import DamagedImageError, Photo
from raykd.data.source import Source

LONGEST_TEMPORARY_FOLDER = 71
"""Bytes of a path below which a decoding process can have its socket."""


class Part(NamedTuple):
    """A split: sample `i` is at `position[i]` of the source."""

    source: Source
    position: Int64[np.ndarray, "N"]


class Ask(NamedTuple):
    """Names a batch. Without an epoch the images are as they are."""

    split: str
    epoch: int | None
    index: Int64[np.ndarray, "B"]  # type: ignore[assignment]  # it hides tuple.index


class Decoded(NamedTuple):
    """A batch on the CPU."""

    index: Int64[Tensor, "B"]  # type: ignore[assignment]
    image: UInt8[Tensor, "B 3 S S"]
    target: Int64[Tensor, "B"]
    damaged: list[tuple[str, str]]
    """Name and reason of each image that is left out."""


Answers = Callable[[Iterable[Ask]], Iterator[Decoded]]
"""Answers asks in order."""


class Loader:
    """Answers asks in order.

    Args:
        parts: The splits.
        photo: Makes the views.
        decoders: Number of processes; 0 decodes in this one. By default this worker's share of
            the machine's CPUs.
        world: Number of workers.
        device: Where the batches go next.
        fork: Whether a process may be forked; what has talked to S3 must not be.
    """

    def __init__(
        self,
        parts: dict[str, Part],
        photo: Photo,
        decoders: int | None,
        world: int,
        device: torch.device,
        fork: bool,
    ) -> None:
        if decoders is None:
            here = int(os.environ.get("LOCAL_WORLD_SIZE", world))  # set by Ray Train and torchrun
            decoders = max(1, len(os.sched_getaffinity(0)) // here)
        if decoders < 0:
            raise ValueError(f"decoders is {decoders}; it must be 0 or more")
        self._asks = _Asks()
        self._loader: DataLoader[Decoded | ValueError] = DataLoader(
            _Answering(Decoder(parts, photo)),
            batch_size=None,
            sampler=self._asks,
            num_workers=decoders,
            persistent_workers=decoders > 0,
            multiprocessing_context=None if fork or not decoders else "spawn",
            pin_memory=device.type == "cuda",
            collate_fn=_as_it_is,
            worker_init_fn=_settle if decoders else None,
            generator=torch.Generator(),  # the loader draws a seed; leave the global one alone
        )

    def __call__(self, asks: Iterable[Ask]) -> Iterator[Decoded]:
        """Yields the batches; one stream at a time, since all share the processes."""
        assert self._asks.now is None, "the loader is in the middle of another stream"
        self._asks.now = asks
        try:
            for answer in self._loader:
                if isinstance(answer, ValueError):
                    raise answer
                yield answer
        finally:
            self._asks.now = None


class _Asks(Sampler[Ask]):
    """What the processes are asked for next."""

    def __init__(self) -> None:
        self.now: Iterable[Ask] | None = None

    def __iter__(self) -> Iterator[Ask]:
        return iter(self.now or ())


class Decoder(Dataset[Decoded]):
    """Answers an ask; it runs in the processes."""

    def __init__(self, parts: dict[str, Part], photo: Photo) -> None:
        self.parts, self.photo = parts, photo

    def __getitem__(self, ask: Ask) -> Decoded:
        source, position = self.parts[ask.split]
        positions = position[ask.index].tolist()
        images, kept, damaged = [], [], []
        for at, data in enumerate(source.read(positions)):
            try:
                if ask.epoch is None:
                    images.append(self.photo.test(data))
                else:
                    images.append(self.photo.train(data, ask.epoch, int(ask.index[at])))
                kept.append(at)
            except DamagedImageError as error:
                damaged.append((source.name(positions[at]), str(error)))
        size = self.photo.size
        return Decoded(
            torch.from_numpy(ask.index[kept]),
            torch.stack(images) if images else torch.empty(0, 3, size, size, dtype=torch.uint8),
            torch.from_numpy(source.target[positions][kept]),
            damaged,
        )


def _settle(worker: int) -> None:
    """Gives a decoding process a short temporary folder.

    It offers its tensors at a socket there, `/pymp-…/listener-…`, whose path has at most 107 bytes,
    or 103 on macOS. With a longer one the process could offer none and the loader waited for ever.
    """
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TEMPORARY_FOLDER:
        tempfile.tempdir = "/tmp"


class _Answering(Dataset[Decoded | ValueError]):
    """Returns a decoder's error in place of raising it.

    PyTorch's loader would put the traceback of the process into the message.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def __getitem__(self, ask: Ask) -> Decoded | ValueError:
        try:
            return self.decoder[ask]
        except ValueError as error:
            return error


def _as_it_is(decoded: Any) -> Any:
    return decoded
