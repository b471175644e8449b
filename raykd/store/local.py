"""Objects as files below a local folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from raykd.store.errors import MissingObjectError, StoreError, UnavailableError

Paths = list[str]  # `list` means the method within the class below
_PART = ".part"  # of a file that is being written; a killed writer leaves one, and no list shows it


class LocalFiles:
    """Files whose writing is atomic: a temporary file beside the target, then rename or link."""

    threads = 1  # more gain nothing on a disk

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, key: str) -> bytes:
        """Returns a file's bytes."""
        with _explained(f"cannot read {self.root / key}"):
            return (self.root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """Replaces a file."""
        with _explained(f"cannot write {self.root / key}"), self._part(key, data) as part:
            part.replace(self.root / key)

    def create(self, key: str, data: bytes) -> bool:
        """Makes a file unless one is there; a link fails where a rename would replace."""
        with _explained(f"cannot write {self.root / key}"), self._part(key, data) as part:
            try:
                os.link(part, self.root / key)
            except FileExistsError:
                return False
            return True

    def exists(self, key: str) -> bool:
        """Says whether there is a file."""
        return (self.root / key).is_file()

    def list(self, prefix: str) -> Paths:
        """Returns the keys of all files below `prefix`."""
        with _explained(f"cannot list {self.root / prefix}"):
            return [
                (Path(folder) / name).relative_to(self.root).as_posix()
                for folder, _, names in os.walk(self.root / prefix)
                for name in names
                if not (name.startswith(".") and name.endswith(_PART))
            ]

    def folders(self, prefix: str) -> Paths:
        """Returns the names of the folders directly below `prefix`."""
        place = self.root / prefix
        if not place.exists():
            return []
        with _explained(f"cannot list {place}"):
            return [path.name for path in place.iterdir() if path.is_dir()]

    def delete(self, keys: Paths) -> None:
        """Deletes files, and the folders left empty by it."""
        for path in (self.root / key for key in keys):
            with _explained(f"cannot delete {path}"):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty, or somebody else was faster
                path.parent.rmdir()

    def check(self, prefix: str, *, write: bool) -> None:
        """Tries listing and writing."""
        place = self.root / prefix
        if place.exists() and not place.is_dir():
            raise StoreError(f"{place} is a file; a store is a folder or s3://bucket/prefix")
        if write:
            with _explained(f"cannot write to the folder {place}"):
                place.mkdir(parents=True, exist_ok=True)
                probe = place / f".{uuid4().hex}{_PART}"
                probe.write_bytes(b"raykd")
                probe.unlink()
        elif place.exists():
            self.folders(prefix)

    @contextmanager
    def _part(self, key: str, data: bytes) -> Iterator[Path]:
        """Yields a temporary file with `data`, safely on the disk, and removes it afterwards."""
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


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns the system's errors into the store's."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingObjectError(f"{what}: it does not exist") from error
    except OSError as error:
        raise UnavailableError(f"{what}: {error.strerror or type(error).__name__}") from error
