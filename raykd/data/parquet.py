"""Reads parts of Parquet files by range requests.

The footer is read once; each row group then takes one request.
"""

import os
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raykd.store.folder import Folder

_FIRST_READ = 64 * 1024
"""Number of bytes at the end of a file that are read for its footer, which is seldom longer."""


def read_footer(place: Folder, path: str, size: int) -> bytes:
    """Returns the footer of a Parquet file of `size` bytes, as `pq.read_metadata` accepts it.

    Raises:
        pa.ArrowInvalid: The file is not a Parquet file.
    """
    tail = place.read_part(path, max(0, size - _FIRST_READ), min(size, _FIRST_READ))
    count = (
        int.from_bytes(tail[-8:-4], "little") + 8
    )  # its own length, and 8 bytes for that length and "PAR1"
    if tail[-4:] != b"PAR1" or count > size:
        raise pa.ArrowInvalid("it does not end as a Parquet file does")
    return place.read_part(path, size - count, count) if count > len(tail) else tail[-count:]


def read_row_group(
    place: Folder, path: str, size: int, footer: bytes, number: int, column: str
) -> list[Any]:
    """Returns the values of one column of row group `number`.

    Raises:
        pa.ArrowInvalid: The file is damaged.
    """
    metadata = pq.read_metadata(pa.BufferReader(footer))
    opened = pa.PythonFile(_Remote(place, path, size), mode="r")
    with pq.ParquetFile(opened, metadata=metadata) as parquet:
        rows = parquet.read_row_group(number, columns=[column], use_threads=False)
    values: list[Any] = rows[column].to_pylist()
    return values


class _Remote:
    """A file object for pyarrow; each read is one request to the storage."""

    def __init__(self, place: Folder, path: str, size: int) -> None:
        self._place, self._path, self._size = place, path, size
        self._at = 0
        self.closed = False

    def read(self, count: int = -1) -> bytes:
        left = self._size - self._at
        data = self._place.read_part(self._path, self._at, left if count < 0 else min(count, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = start[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True
