"""Compressed images and their classes, in a folder of class folders or in Parquet shards.

Both have the same order: a permutation, fixed once and for all, of the images sorted by name. So
the images of a block that lies together in a shard are a random sample, and training reads
random blocks in place of random images (`block`).
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from raykd.data.folder import SPLITS, THREADS, Folder, fingerprint, split_folders
from raykd.store.address import refuse_credentials


def block(count: int) -> int:
    """How many of `count` images lie together and are read at once: from 1 to 16."""
    return min(max(count // 10_000, 1), 16)


class Shards:
    """One split of what `raykd.data.pack` wrote, on a local path or `s3://`.

    Raises:
        ValueError: The split is not there or not complete, or a shard is truncated.
    """

    def __init__(self, root: str, split: str) -> None:
        self.root, self.split = root, split
        table = self._index()
        described: dict[str, Any] = json.loads(table.schema.metadata[b"raykd"])
        self.classes: list[str] = described["classes"]
        self.shard_images: int = described["shard_images"]
        self.target = table["label"].to_numpy().astype(np.int64)
        self._names = table["name"].combine_chunks()
        self.sha256 = fingerprint(self.classes, self.target, table["bytes"].to_numpy(), self._names)
        self._check_sizes(described["shards"])
        self._blocks: OrderedDict[int, list[bytes]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """A worker process opens the file system itself."""
        return {key: value for key, value in self.__dict__.items() if key != "_place"}

    def name(self, position: int) -> str:
        """Returns the path that an image had below its folder."""
        return str(self._names[position])

    def read(self, positions: Sequence[int]) -> list[bytes]:
        """Returns compressed images; each block that they lie in is read once."""
        size = block(len(self.target))
        needed = dict.fromkeys(position // size for position in positions)
        missing = [number for number in needed if number not in self._blocks]
        with ThreadPoolExecutor(THREADS) as threads:
            self._blocks.update(zip(missing, threads.map(self._read_block, missing), strict=True))
        images = [self._blocks[position // size][position % size] for position in positions]
        while len(self._blocks) > 2:  # of a batch's last block the next may take the rest
            self._blocks.popitem(last=False)
        return images

    @cached_property
    def _place(self) -> tuple[fs.FileSystem, str]:
        return open_folder(self.root)

    def _index(self) -> pa.Table:
        filesystem, path = self._place
        try:
            return pq.read_table(f"{path}/index/{self.split}.parquet", filesystem=filesystem)
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(
                f"{self.root} has no complete split {self.split}: `raykd pack` makes it, or goes"
                f" on where it stopped ({error})"
            ) from error

    def _check_sizes(self, expected: list[int]) -> None:
        filesystem, path = self._place
        chosen = fs.FileSelector(f"{path}/{self.split}", allow_not_found=True)
        found = {info.base_name: info.size for info in filesystem.get_file_info(chosen)}
        for number, size in enumerate(expected):
            got = found.get(shard_name(number))
            if got != size:
                raise ValueError(
                    f"the shard {self.split}/{shard_name(number)} of {self.root} is"
                    f" {'missing' if got is None else f'damaged: {got} bytes and not {size}'};"
                    " `raykd pack` makes it again"
                )

    def _read_block(self, number: int) -> list[bytes]:
        filesystem, path = self._place
        size = block(len(self.target))
        shard, first = divmod(number * size, self.shard_images)
        file = f"{path}/{self.split}/{shard_name(shard)}"
        try:
            with pq.ParquetFile(file, filesystem=filesystem) as parquet:
                rows = parquet.read_row_group(first // size, columns=["image"], use_threads=False)
        except pa.ArrowInvalid as error:
            raise ValueError(f"the shard {file} is damaged ({error})") from error
        images: list[bytes] = rows["image"].to_pylist()
        return images


Source = Folder | Shards
"""Images in a fixed order: `classes`, `target`, `sha256`, `name(position)`, `read(positions)`."""


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"{number:05d}.parquet"


def open_folder(root: str) -> tuple[fs.FileSystem, str]:
    """Returns the file system of a local path or `s3://bucket/prefix`, and the path there.

    Raises:
        ValueError: There are keys in the address, or no such kind of address.
    """
    refuse_credentials(root, "the address of the data")
    address = urlsplit(root if "://" in root else Path(root).expanduser().absolute().as_uri())
    try:
        filesystem, path = fs.FileSystem.from_uri(address.geturl())
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"can't open {root}: {error}") from error
    return filesystem, path.rstrip("/")


def open_splits(root: str) -> dict[str, Source]:
    """Returns the splits of `SPLITS` that are there, packed or as folders; `train` always is.

    Raises:
        ValueError: The files are missing or damaged.
    """
    filesystem, path = open_folder(root)
    try:
        infos = filesystem.get_file_info([f"{path}/index/{name}.parquet" for name in SPLITS])
    except OSError as error:
        raise ValueError(f"can't read {root}: {error}") from error
    packed = [name for name, info in zip(SPLITS, infos, strict=True) if info.is_file]
    if packed or "://" in root:
        return {name: Shards(root, name) for name in dict.fromkeys(["train", *packed])}
    return dict(split_folders(Path(root).expanduser()))
