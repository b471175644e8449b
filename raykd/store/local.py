"""Stores objects as files below a local folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

from raykd.store.errors import MissingObjectError, StoreError, UnavailableError

Paths = list[str]
_PART = ".part"  # suffix of a temporary file; a killed writer leaves one, and listings omit it


class LocalFiles:
    """Files that are written atomically: a temporary file beside the target, then rename or link.

    Args:
        root: Folder below which the files lie; a key is a path relative to it.
    """

    threads = 1  # number of simultaneous reads; more gain nothing on a disk

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, key: str) -> bytes:
        """Returns a file's bytes."""
        with _explained(f"cannot read {self.root / key}", reading=True):
            return (self.root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """Writes a file and replaces an existing one."""
        with _explained(f"cannot write {self.root / key}"), self._part(key, data) as part:
            part.replace(self.root / key)

    def create(self, key: str, data: bytes) -> bool:
        """Creates a file; returns False if it exists already.

        The file appears by a hard link, which fails if the target exists; a rename would replace.
        """
        with _explained(f"cannot write {self.root / key}"), self._part(key, data) as part:
            try:
                os.link(part, self.root / key)
            except FileExistsError:
                return False
            return True

    def read_part(self, key: str, first: int, count: int) -> bytes:
        """Returns up to `count` bytes of a file from byte `first` on; fewer if the file ends."""
        with (
            _explained(f"cannot read {self.root / key}", reading=True),
            (self.root / key).open("rb") as file,
        ):
            file.seek(first)
            return file.read(count)

    def exists(self, key: str) -> bool:
        """Returns True if the file exists."""
        with _explained(f"cannot look for {self.root / key}"):
            try:
                return S_ISREG((self.root / key).stat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def sizes(self, prefix: str) -> dict[str, int]:
        """Returns the size in bytes of each file below `prefix`, by key."""
        with _explained(f"cannot list {self.root / prefix}"):
            return {
                Path(entry.path).relative_to(self.root).as_posix(): size
                for entry, size in _files(self.root / prefix)
                if not (entry.name.startswith(".") and entry.name.endswith(_PART))
            }

    def folders(self, prefix: str) -> Paths:
        """Returns the names of the folders directly below `prefix`."""
        with _explained(f"cannot list {self.root / prefix}"):
            return [entry.name for entry in _entries(self.root / prefix) if entry.is_dir()]

    def delete(self, keys: Paths) -> None:
        """Deletes files and the parent folders that this leaves empty."""
        for path in (self.root / key for key in keys):
            with _explained(f"cannot delete {path}"):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty, or already deleted by another process
                path.parent.rmdir()

    def check(self, prefix: str, *, write: bool) -> None:
        """Tests access to the folder `prefix`: creates it and writes a file, or only lists it."""
        place = self.root / prefix
        if self.exists(prefix):
            raise StoreError(f"{place} is a file; a store is a folder or s3://bucket/prefix")
        if write:
            with _explained(f"cannot write to the folder {place}"):
                place.mkdir(parents=True, exist_ok=True)
                probe = place / f".{uuid4().hex}{_PART}"
                probe.write_bytes(b"raykd")
                probe.unlink()
        else:
            self.folders(prefix)

    @contextmanager
    def _part(self, key: str, data: bytes) -> Iterator[Path]:
        """Yields a temporary file with `data`, flushed to the disk, and removes it afterwards."""
        target = self.root / key
        part = target.with_name(f".{target.name}.{uuid4().hex}{_PART}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield part
        finally:
            part.unlink(missing_ok=True)


def _entries(place: str | Path) -> list[os.DirEntry[str]]:
    """Returns the entries directly in a folder; a missing folder has none, other errors raise.

    `os.walk`, `Path.exists` and `Path.is_dir` are avoided: they take some errors for "missing".
    """
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _files(place: str | Path) -> Iterator[tuple[os.DirEntry[str], int]]:
    """Yields the files below a folder with their sizes; skips files that vanish meanwhile."""
    for entry in _entries(place):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
            continue
        try:
            found = entry.stat()
        except FileNotFoundError:
            continue
        if S_ISREG(found.st_mode):
            yield entry, found.st_size


@contextmanager
def _explained(what: str, *, reading: bool = False) -> Iterator[None]:
    """Converts errors of the operating system into errors of the store."""
    try:
        yield
    except OSError as error:
        if reading and isinstance(error, FileNotFoundError | NotADirectoryError):
            raise MissingObjectError(f"{what}: it does not exist") from error
        raise UnavailableError(f"{what}: {error.strerror or type(error).__name__}") from error
