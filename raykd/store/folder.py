"""Reads and writes objects below a root that is a local folder or `s3://bucket/prefix`."""

import logging
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

from raykd.store.address import refuse_credentials
from raykd.store.errors import MissingObjectError, StoreError, UnavailableError
from raykd.store.local import LocalFiles
from raykd.store.retry import RETRY_SECONDS, RetryingObjects
from raykd.store.s3 import Bucket

logger = logging.getLogger(__name__)

Paths = list[str]  # defined here because `list` means the method within the class below


class Folder:
    """A folder of objects on a local disk or in S3, each named by a path relative to the folder.

    An object is always written as a whole. A folder is pickled as its URI alone: wherever it is
    used, botocore resolves credentials, profile, region and endpoint from the standard AWS
    environment, and they are kept nowhere else.

    Args:
        uri: A local path, `file:///path`, or `s3://bucket/prefix`.

    Raises:
        StoreError: The URI has another scheme, lacks a bucket, or contains credentials or options.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self._objects: LocalFiles | Bucket | RetryingObjects
        self.uri, self._prefix, self._objects = _parse(os.fspath(uri))

    def __repr__(self) -> str:
        return f"Folder({self.uri!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and other.uri == self.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __reduce__(self) -> tuple[type["Folder"], tuple[str]]:
        return Folder, (self.uri,)

    def read(self, path: str) -> bytes:
        """Returns an object's bytes.

        Raises:
            MissingObjectError: The object does not exist (this is also a `FileNotFoundError`).
            StoreError: The object cannot be read.
        """
        return self._objects.read(self._key(path))

    def read_part(self, path: str, first: int, count: int) -> bytes:
        """Returns `count` bytes of an object, starting at byte `first`.

        Raises:
            UnavailableError: The storage returned fewer bytes.
        """
        data = self._objects.read_part(self._key(path), first, count) if count else b""
        if len(data) != count:
            raise UnavailableError(
                f"{self.uri}/{path} gave {len(data)} and not {count} bytes at {first}; is it being"
                " written?"
            )
        return data

    def write(self, path: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Writes an object atomically: a reader sees the old bytes or the new ones, never a mix.

        Args:
            path: Path of the object, relative to the folder.
            data: Bytes of the object.
            if_absent: Write only if the object does not exist yet. Of several writers exactly one
                succeeds on a local folder and on servers with conditional PUT (AWS, MinIO, moto).
                Other servers (rclone) refuse later writers, but may let simultaneous ones through.

        Returns:
            True if the object was written; False is possible only with `if_absent`.
        """
        key = self._key(path)
        if if_absent:
            return self._objects.create(key, data)
        self._objects.write(key, data)
        return True

    def read_all(self, paths: Paths) -> dict[str, bytes]:
        """Returns the bytes of many objects by path; missing objects are skipped.

        S3 objects are read by several threads at once.
        """

        def read(path: str) -> bytes | None:
            try:
                return self.read(path)
            except MissingObjectError:
                return None

        if (threads := min(self._objects.threads, len(paths))) > 1:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(read, paths))
        else:
            found = [read(path) for path in paths]
        return {path: data for path, data in zip(paths, found, strict=True) if data is not None}

    def exists(self, path: str) -> bool:
        """Returns True if there is an object at exactly this path."""
        return self._objects.exists(self._key(path))

    def list(self, prefix: str = "") -> Paths:
        """Returns the sorted paths, relative to this folder, of all objects below `prefix`.

        Raises:
            UnavailableError: The storage could not list them. A missing folder counts as empty.
        """
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Returns the size in bytes of each object below `prefix`, by path within this folder."""
        start = len(self._prefix) + 1 if self._prefix else 0
        found = self._objects.sizes(self._key(prefix, root=True))
        return {key[start:]: size for key, size in found.items()}

    def folders(self, prefix: str = "") -> Paths:
        """Returns the sorted names of the folders directly below `prefix`."""
        return sorted(self._objects.folders(self._key(prefix, root=True)))

    def delete(self, *paths: str) -> None:
        """Deletes objects; an object that does not exist is no error."""
        if paths:
            self._objects.delete([self._key(path) for path in paths])

    def delete_all(self, prefix: str = "") -> None:
        """Deletes every object below `prefix`."""
        self.delete(*self.list(prefix))

    def sub(self, path: str) -> "Folder":
        """Returns the folder at `path` below this one; both share one connection."""
        below = Folder.__new__(Folder)
        below.uri = f"{self.uri.rstrip('/')}/{self._clean(path)}"
        below._prefix, below._objects = self._key(path), self._objects
        return below

    def patient(
        self,
        seconds: float = RETRY_SECONDS,
        *,
        what: str = "the store",
        say: Callable[[str], None] = logger.warning,
    ) -> "Folder":
        """Returns the same folder with retries: a failing request is repeated for `seconds`.

        Args:
            seconds: Seconds after the first failure of a request until the request fails.
            what: Name of the storage in the messages.
            say: Callback that receives one sentence when a wait begins, with its reason, and one
                when the wait is over.
        """
        waiting = Folder.__new__(Folder)
        waiting.uri, waiting._prefix = self.uri, self._prefix
        waiting._objects = RetryingObjects(self._objects, seconds, say, f"{what} at {self.uri}")
        return waiting

    def check(self, *, write: bool = True) -> None:
        """Tests access within seconds: lists the folder and, with `write`, writes and deletes.

        Raises:
            StoreError: The endpoint is unreachable, the bucket is missing or in another region,
                or the credentials are wrong or lack a permission.
        """
        self._objects.check(self._prefix, write=write)

    def _clean(self, path: str) -> str:
        parts = path.strip("/").split("/")
        if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise StoreError(f"{path!r} is not a path below {self.uri}; use names joined by '/'")
        return "/".join(parts)

    def _key(self, path: str, *, root: bool = False) -> str:
        if root and path == "":
            return self._prefix
        return f"{self._prefix}/{self._clean(path)}" if self._prefix else self._clean(path)


def _parse(uri: str) -> tuple[str, str, LocalFiles | Bucket]:
    """Splits a URI into its normal form, the prefix of all keys, and the storage behind it."""
    refuse_credentials(uri, "the address")
    scheme = match[1].lower() if (match := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", uri)) else ""
    if uri.startswith("s3:/") and scheme == "":
        raise StoreError(f"{uri!r} lost a slash; give s3://bucket/prefix as a string, not a Path")
    if scheme == "":
        root = Path(uri).expanduser().absolute()
        return str(root), "", LocalFiles(root)
    if scheme == "file":  # the rest is a path, in which `#` and `?` are ordinary characters
        path = unquote(uri[len("file://") :])
        if not path.startswith("/"):
            raise StoreError(f"{uri!r} names a machine; use file:///path or the path alone")
        return str(Path(path)), "", LocalFiles(Path(path))
    if scheme != "s3":
        raise StoreError(f"{scheme}:// is not supported; use a local folder or s3://bucket/prefix")
    bucket, _, prefix = uri[len("s3://") :].partition("/")
    if re.search(r"\?[^/?=]+=", uri):
        raise StoreError(
            "an address in S3 is s3://bucket/prefix without options; set AWS_REGION and"
            " AWS_ENDPOINT_URL instead"
        )
    prefix = "/".join(part for part in prefix.split("/") if part)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,}", bucket):
        raise StoreError(f"{bucket!r} in {uri!r} is no bucket name; use s3://bucket/prefix")
    return f"s3://{bucket}/{prefix}".rstrip("/"), prefix, Bucket(bucket)


def read_file(address: str | os.PathLike[str]) -> bytes:
    """Returns the bytes of one file at a local path, `file:///path` or `s3://bucket/key`.

    Raises:
        MissingObjectError: The file does not exist.
        UnavailableError: The file cannot be read at the moment.
        StoreError: The address has another scheme, or contains credentials or options.
    """
    refuse_credentials(os.fspath(address), "the address")
    folder, slash, name = os.fspath(address).rpartition("/")
    return Folder(f"{folder}{slash}" or ".").read(name)
