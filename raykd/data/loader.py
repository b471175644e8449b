"""Reads and decodes batches of photographs in separate processes."""

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
"""Longest path of the temporary folder, in bytes, in which a decoding process can open a socket."""


class Part(NamedTuple):
    """The samples of a split: sample `i` is at `position[i]` of the source."""

    source: Source
    position: Int64[np.ndarray, "N"]


class Ask(NamedTuple):
    """A request for a batch: the samples `index` of a split.

    With an epoch the images are augmented for it; without one they are centre crops.
    """

    split: str
    epoch: int | None
    index: Int64[np.ndarray, "B"]  # type: ignore[assignment]  # it hides tuple.index


class Decoded(NamedTuple):
    """A decoded batch on the CPU."""

    index: Int64[Tensor, "B"]  # type: ignore[assignment]
    image: UInt8[Tensor, "B 3 S S"]
    target: Int64[Tensor, "B"]
    damaged: list[tuple[str, str]]
    """Name and reason of each image that is left out because it can't be decoded."""


Answers = Callable[[Iterable[Ask]], Iterator[Decoded]]
"""A function that yields the decoded batch of each request, in the order of the requests."""


class Loader:
    """Decodes requested batches in other processes and yields them in the order of the requests.

    Args:
        parts: Samples of each split, by name.
        photo: Decoder and augmentation of an image.
        decoders: Number of processes; with 0 this process decodes. By default this worker's share
            of the machine's CPUs.
        world: Number of workers.
        device: Device to which the batches are copied later; for CUDA they are put into pinned
            memory.
        fork: Whether this process may be forked; it must not be if it has connected to S3.

    Raises:
        ValueError: `decoders` is negative.
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
        self._asks = _Requests()
        self._loader: DataLoader[Decoded | ValueError] = DataLoader(
            _ErrorsAsValues(Decoder(parts, photo)),
            batch_size=None,
            sampler=self._asks,
            num_workers=decoders,
            persistent_workers=decoders > 0,
            multiprocessing_context=None if fork or not decoders else "spawn",
            pin_memory=device.type == "cuda",
            collate_fn=_uncollated,
            worker_init_fn=_shorten_temporary_folder if decoders else None,
            generator=torch.Generator(),  # its seed is not drawn from the global generator
        )

    def __call__(self, asks: Iterable[Ask]) -> Iterator[Decoded]:
        """Yields the requested batches.

        Only one iteration may be running at a time, since all of them share the processes.
        """
        assert self._asks.now is None, "the loader is in the middle of another stream"
        self._asks.now = asks
        try:
            for answer in self._loader:
                if isinstance(answer, ValueError):
                    raise answer
                yield answer
        finally:
            self._asks.now = None


class _Requests(Sampler[Ask]):
    """A sampler whose requests are replaced before each iteration of the loader."""

    def __init__(self) -> None:
        self.now: Iterable[Ask] | None = None

    def __iter__(self) -> Iterator[Ask]:
        return iter(self.now or ())


class Decoder(Dataset[Decoded]):
    """Reads and decodes one requested batch; it runs in the decoding processes."""

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


def _shorten_temporary_folder(worker: int) -> None:
    """Lets a decoding process use `/tmp` if the path of its temporary folder is too long.

    The process offers its tensors at a socket in that folder, `/pymp-…/listener-…`. The path of a
    socket has at most 107 bytes, or 103 on macOS. With a longer path the process could not offer
    its tensors, and the loader would wait for ever.
    """
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TEMPORARY_FOLDER:
        tempfile.tempdir = "/tmp"


class _ErrorsAsValues(Dataset[Decoded | ValueError]):
    """Returns the error of a decoder instead of raising it.

    If it were raised, PyTorch's loader would put the traceback of the process into the message.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def __getitem__(self, ask: Ask) -> Decoded | ValueError:
        try:
            return self.decoder[ask]
        except ValueError as error:
            return error


def _uncollated(decoded: Any) -> Any:
    """Returns a batch unchanged, in place of the loader's own `collate_fn`."""
    return decoded
