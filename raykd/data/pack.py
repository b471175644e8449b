"""Packs folders of images into Parquet shards, which are faster to read from S3.

The files `<destination>/<split>/00000.parquet` … hold the unchanged image files with their labels
and names, in the fixed order of `raykd.data.source`. `<destination>/index/<split>.parquet` holds
labels, names and sizes. `index/train.parquet` is written last: without it the packing is not
complete.
"""

import json
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raykd.data.folder import Folder, split_folders
from raykd.data.parquet import read_footer
from raykd.data.source import block, shard_name
from raykd.store.folder import Folder as Storage


def pack(
    source: str | Path,
    destination: str | Path,
    *,
    shard_images: int = 1024,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Packs the splits of `source` into shards.

    If it was interrupted, call it again: it writes only the shards that are missing.

    Args:
        source: Folder with `train/` and, optionally, `val/` and `test/`.
        destination: Local folder or `s3://bucket/prefix`.
        shard_images: Number of images in a shard, rounded up to whole blocks; an image of ImageNet
            takes about 110 kB.
        progress: Callback that receives (images done, images in all) after each shard, also after
            those that were there already.

    Returns:
        The number of images in each split.

    Raises:
        UnavailableError: `destination` can't be reached or written. It is raised within seconds if
            the first access fails; if a later one fails, the storage is waited for.
        ValueError: `shard_images` is below 1, `source` has no images, or `destination` holds other
            images.
    """
    if shard_images < 1:
        raise ValueError(f"shard_images is {shard_images}; it must be at least 1")
    folder = Path(source).expanduser()
    if not (folder / "train").is_dir():
        raise ValueError(f"there is no folder {folder / 'train'}; nothing to pack")
    splits = split_folders(folder)
    counts = {split: len(folder.target) for split, folder in splits.items()}
    done, total = 0, sum(counts.values())
    place = Storage(destination)
    place.check()
    place = place.patient(what="the destination")
    packings = [_Packing(folder, split, place, shard_images) for split, folder in splits.items()]
    for packing in packings:
        packing.check_destination()
    for packing in packings:
        for number in range(packing.shards):
            packing.shard(number)
            done += len(packing.positions(number))
            if progress is not None:
                progress(done, total)
    for packing in reversed(packings):
        packing.index()  # the index of `train` is the last, since readers ask for it
    return counts


class _Packing:
    """Writes the shards and the index of one split."""

    def __init__(self, folder: Folder, split: str, place: Storage, shard_images: int) -> None:
        self.folder, self.split, self.place = folder, split, place
        self.index_file = f"index/{split}.parquet"
        self.sizes = place.sizes(split) | place.sizes("index")
        self.block = block(len(folder.target))
        self.shard_images = (
            ceil(shard_images / self.block) * self.block
        )  # no block lies in two shards
        self.shards = ceil(len(folder.target) / self.shard_images)
        self.contents = {"sha256": folder.sha256, "shard_images": self.shard_images}

    def positions(self, number: int) -> range:
        """Returns the positions of the images in a shard."""
        start = number * self.shard_images
        return range(start, min(start + self.shard_images, len(self.folder.target)))

    def check_destination(self) -> None:
        """Checks the destination; raises ValueError if other images were packed there before."""
        for file in (self.index_file, f"{self.split}/{shard_name(0)}"):
            there = self._described(file)
            if there and any(there.get(key) != value for key, value in self.contents.items()):
                raise ValueError(
                    f"{self.place.uri} holds other images than {self.folder.root}, or shards of"
                    " another size; choose an empty destination"
                )

    def shard(self, number: int) -> None:
        """Writes a shard unless it is there already."""
        file = f"{self.split}/{shard_name(number)}"
        if self._described(file) == self.contents:
            return
        positions = self.positions(number)
        columns = {
            "image": pa.array(self.folder.read(positions), pa.large_binary()),
            "label": pa.array(self.folder.target[positions.start : positions.stop], pa.int32()),
            "name": pa.array([self.folder.name(position) for position in positions]),
        }
        # JPEG data can't be compressed further, and has no use for a dictionary or statistics.
        self._write(
            file,
            pa.table(columns),
            self.contents,
            row_group_size=self.block,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
        )

    def index(self) -> None:
        """Writes the index of the split, which makes it complete."""
        if self._described(self.index_file):
            return
        table = pa.table(
            {
                "label": pa.array(self.folder.target, pa.int32()),
                "name": [self.folder.name(i) for i in range(len(self.folder.target))],
                "bytes": self.folder.sizes,
            }
        )
        shards = [self.sizes[f"{self.split}/{shard_name(i)}"] for i in range(self.shards)]
        described = self.contents | {"classes": self.folder.classes, "shards": shards}
        self._write(self.index_file, table, described, compression="zstd")

    def _described(self, file: str) -> dict[str, Any] | None:
        """Returns a file's own description of its contents; None if it is missing or incomplete."""
        if file not in self.sizes:
            return None
        try:
            footer = read_footer(self.place, file, self.sizes[file])
            metadata = pq.read_schema(pa.BufferReader(footer)).metadata or {}
        except pa.ArrowInvalid:
            return None
        described: dict[str, Any] = json.loads(metadata.get(b"raykd", b"{}"))
        return described

    def _write(self, file: str, table: pa.Table, described: dict[str, Any], **options: Any) -> None:
        table = table.replace_schema_metadata({"raykd": json.dumps(described)})
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, **options)
        data = buffer.getvalue().to_pybytes()
        self.place.write(file, data)
        self.sizes[file] = len(data)
