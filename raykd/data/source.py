"""Sources of compressed images and their classes: folders of class folders, or Parquet shards.

Both have the same order, a fixed permutation of the images sorted by name. A block of consecutive
images is therefore a random sample, and training can read random blocks instead of random images
(see `block`).
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raykd.data.folder import SPLITS, THREADS, Folder, fingerprint, split_folders
from raykd.data.parquet import read_footer, read_row_group
from raykd.store.address import refuse_credentials
from raykd.store.errors import MissingObjectError, UnavailableError
from raykd.store.folder import Folder as Storage


def block(count: int) -> int:
    """Returns the number of images in a block, which is read at once.

    It is a ten-thousandth of the `count` images, but at least 1 and at most 16.
    """
    return min(max(count // 10_000, 1), 16)


class Shards:
    """One split that `raykd.data.pack` wrote, on a local path or `s3://`.

    If the storage fails, opening the split fails at once, whereas reading images later waits for
    the storage.

    Raises:
        UnavailableError: The storage fails.
        ValueError: The split is missing or incomplete, or a shard is missing or has another size.
    """

    def __init__(self, root: str, split: str) -> None:
        place = Storage(root)
        self.root, self.split = place.uri, split
        table = self._index(place)
        described: dict[str, Any] = json.loads(table.schema.metadata[b"raykd"])
        self.classes: list[str] = described["classes"]
        self.shard_images: int = described["shard_images"]
        self.target = table["label"].to_numpy().astype(np.int64)
        self._names = table["name"].combine_chunks()
        self.sha256 = fingerprint(self.classes, self.target, table["bytes"].to_numpy(), self._names)
        self._sizes: list[int] = described["shards"]
        self._check_sizes(place)
        self._blocks: OrderedDict[int, list[bytes]] = OrderedDict()
        self._footers: dict[int, bytes] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the connection to the storage; each process makes its own."""
        return {key: value for key, value in self.__dict__.items() if key != "_place"}

    def name(self, position: int) -> str:
        """Returns the path that an image had, relative to the folder that was packed."""
        return str(self._names[position])

    def read(self, positions: Sequence[int]) -> list[bytes]:
        """Returns the compressed images at `positions`; each block of them is read only once."""
        size = block(len(self.target))
        needed = dict.fromkeys(position // size for position in positions)
        missing = [number for number in needed if number not in self._blocks]
        with ThreadPoolExecutor(THREADS) as threads:
            self._blocks.update(zip(missing, threads.map(self._read_block, missing), strict=True))
        images = [self._blocks[position // size][position % size] for position in positions]
        while len(self._blocks) > 2:  # the next batch may need the rest of the last block
            self._blocks.popitem(last=False)
        return images

    @cached_property
    def _place(self) -> Storage:
        return Storage(self.root).patient(what="the data")

    def _index(self, place: Storage) -> pa.Table:
        try:
            return pq.read_table(pa.BufferReader(place.read(f"index/{self.split}.parquet")))
        except (MissingObjectError, pa.ArrowInvalid) as error:
            raise ValueError(
                f"{self.root} has no complete split {self.split}: `raykd pack` makes it, or goes"
                f" on where it stopped ({error})"
            ) from error

    def _check_sizes(self, place: Storage) -> None:
        found = place.sizes(self.split)
        for number, size in enumerate(self._sizes):
            path = f"{self.split}/{shard_name(number)}"
            got = found.get(path)
            if got is None and place.exists(path):
                raise UnavailableError(f"a listing of {self.root} lacks {path}; try again")
            if got != size:
                raise ValueError(
                    f"the shard {path} of {self.root} is"
                    f" {'missing' if got is None else f'damaged: {got} bytes and not {size}'};"
                    " `raykd pack` makes it again"
                )

    def _read_block(self, number: int) -> list[bytes]:
        size = block(len(self.target))
        shard, first = divmod(number * size, self.shard_images)
        path = f"{self.split}/{shard_name(shard)}"
        file = self._place, path, self._sizes[shard]
        try:
            if shard not in self._footers:
                self._footers[shard] = read_footer(*file)
            return read_row_group(*file, self._footers[shard], first // size, "image")
        except pa.ArrowInvalid as error:
            raise ValueError(f"the shard {self.root}/{path} is damaged ({error})") from error


Source = Folder | Shards
"""Images in a fixed order.

A source has the names of its `classes`, the `target` of each image, the `sha256` of its contents,
`name(position)` and `read(positions)`.
"""


def shard_name(number: int) -> str:
    """Returns the file name of a shard."""
    return f"{number:05d}.parquet"


def open_splits(root: str) -> dict[str, Source]:
    """Opens the splits of a data set, packed or in folders; `train` is always among them.

    The splits have the names in `SPLITS`.

    Raises:
        UnavailableError: The storage fails; it is raised within seconds.
        ValueError: The files are missing or damaged.
    """
    refuse_credentials(root, "the address of the data")
    place = Storage(root)
    place.check(write=False)
    packed = [name for name in SPLITS if place.exists(f"index/{name}.parquet")]
    if packed or "://" in root:
        return {name: Shards(root, name) for name in dict.fromkeys(["train", *packed])}
    return dict(split_folders(Path(root).expanduser()))
