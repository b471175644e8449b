"""Reads images from folders of the user's own, one folder for each class.

Files that are left out are named in a warning.
"""

import errno
import hashlib
import json
import logging
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa

from raykd.data.views import Purpose, random_order

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Suffixes of the files that are read, in lower case; upper case is read as well."""
SPLITS = {"train": ["train"], "val": ["val", "valid", "validation"], "test": ["test"]}
"""Names that the folder of each split may have; the first that exists is read."""
LITTER = ("thumbs.db", "desktop.ini")
"""Names of files that Windows puts into folders of images; like hidden files they are ignored."""
LISTED = 3
"""Number of names that a message lists, for each reason to leave files out."""
THREADS = 8
"""Number of threads that read from a disk or a server; decoding has separate processes."""

Entry = tuple[os.DirEntry[str], os.stat_result]

logger = logging.getLogger(__name__)


class Folder:
    """The images of one split, with a folder for each class; class folders may be nested.

    Only regular files and links to them are read. Files of other suffixes, dangling links, pipes,
    devices, links to a parent folder, and images outside the class folders are left out and named
    in a warning.

    Args:
        root: Folder of the split.

    Raises:
        ValueError: The folder is empty or can't be read, or a class has no image.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        listing = _Listing(root)
        listing.warn()
        names = sorted(listing.files)
        files = [sorted(listing.files[name]) for name in names]
        self.classes = [shown(name) for name in names]
        paths, sizes = zip(*(file for found in files for file in found), strict=True)
        order = random_order(Purpose.CONTENT, 0, 0, len(paths))
        target = np.repeat(np.arange(len(files)), [len(found) for found in files])
        self.target = target[order].astype(np.int64)
        self.sizes = np.array(sizes, np.int64)[order]
        # An Arrow array has no Python objects, so forked workers share its memory. It holds bytes
        # because names of files need not be UTF-8.
        self._paths = pa.array(map(os.fsencode, paths), pa.binary()).take(order)
        written = pa.array(map(shown, paths), pa.string()).take(order)
        self.sha256 = fingerprint(self.classes, self.target, self.sizes, written)

    def name(self, position: int) -> str:
        r"""Returns an image's path relative to the folder; bytes that aren't UTF-8 become `\x…`."""
        return shown(self._path(position))

    def read(self, positions: Sequence[int]) -> list[bytes]:
        """Returns the compressed images at `positions`.

        Raises:
            ValueError: An image can't be read.
        """
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(self._read, positions))

    def _path(self, position: int) -> str:
        return os.fsdecode(self._paths[position].as_py())

    def _read(self, position: int) -> bytes:
        try:
            return (self.root / self._path(position)).read_bytes()
        except OSError as error:
            raise ValueError(
                f"the image {self.root / self.name(position)} can't be read ({error.strerror});"
                " it was there when the folder was listed: make it readable again"
            ) from error


class _Listing:
    """The images in the class folders of a split, and the files that are left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, list[tuple[str, int]]] = {}
        """Path relative to the root (with slashes) and size in bytes of each image, by class."""
        self._left_out: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)
        whole = root.resolve()
        above = frozenset(_identity(folder.stat()) for folder in (whole, *whole.parents))
        for entry, status in self._entries(root, ""):
            if not stat.S_ISDIR(status.st_mode):
                if entry.name.lower().endswith(SUFFIXES):
                    self._leave_out("in no class folder", entry.name)
            elif _identity(status) in above:
                self._leave_out("link to a folder above it", entry.name)
            else:
                inside = above | {_identity(status)}
                self.files[entry.name] = list(self._images(Path(entry.path), entry.name, inside))
        self._check()

    def warn(self) -> None:
        """Warns once of files that are left out and of classes that differ only in case."""
        if self._left_out:
            say(
                f"{self.root}: {self._left_out.total()} files were left out ({self._reasons()});"
                f" images are files of the suffixes {' '.join(SUFFIXES)} in class folders"
            )
        alike: defaultdict[str, list[str]] = defaultdict(list)
        for name in sorted(self.files):
            alike[name.casefold()].append(shown(name))
        for names in alike.values():
            if len(names) > 1:
                say(f"{self.root}: the classes {' and '.join(names)} differ in case only")

    def _check(self) -> None:
        if not self.files and (loose := self._left_out["in no class folder"]):
            raise ValueError(
                f"{self.root} holds {loose} images and no class folders; put each image into a"
                " folder that is named as its class, as in train/, or move the images away"
            )
        because = f"; left out: {self._reasons()}" if self._left_out else ""
        if not self.files:
            raise ValueError(
                f"{self.root} is empty; it must hold a folder of images for each class{because}"
            )
        if empty := [name for name in sorted(self.files) if not self.files[name]]:
            raise ValueError(
                f"the class folder {self.root / shown(empty[0])} has no images"
                f" ({', '.join(SUFFIXES)}){because}"
            )

    def _images(
        self, folder: Path, name: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[tuple[str, int]]:
        for entry, status in self._entries(folder, f"{name}/"):
            below = f"{name}/{entry.name}"
            if stat.S_ISDIR(status.st_mode):
                if _identity(status) in above:
                    self._leave_out("link to a folder above it", below)
                else:
                    inside = above | {_identity(status)}
                    yield from self._images(Path(entry.path), below, inside)
            elif entry.name.lower().endswith(SUFFIXES):
                yield below, status.st_size
            else:
                self._leave_out(PurePath(entry.name).suffix.lower() or "without a suffix", below)

    def _entries(
        self, folder: Path, name: str
    ) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
        """Yields the files and folders in a folder.

        None is opened, because opening a pipe could block for ever.
        """
        try:
            with os.scandir(folder) as scanned:
                entries = list(scanned)
        except OSError as error:
            raise _unreadable(str(folder), error) from error
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in LITTER:
                continue
            try:
                status = entry.stat()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ELOOP):
                    raise _unreadable(entry.path, error) from error
                self._leave_out("link to nowhere", name + entry.name)
                continue
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                yield entry, status
            else:
                self._leave_out("neither a file nor a folder", name + entry.name)

    def _leave_out(self, reason: str, name: str) -> None:
        self._left_out[reason] += 1
        if len(self._examples[reason]) <= LISTED:
            self._examples[reason].append(shown(name))

    def _reasons(self) -> str:
        return "; ".join(
            f"{count} {reason}: {', '.join(self._examples[reason][:LISTED])}"
            f"{', …' if count > LISTED else ''}"
            for reason, count in self._left_out.most_common()
        )


def split_folders(root: Path) -> dict[str, Folder]:
    """Returns the splits in a folder by their names in `SPLITS`; warns of folders left out.

    Raises:
        ValueError: There is no `train/`, or the images of a split can't be listed.
    """
    try:
        names = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
        folders = [name for name in names if name[0] != "." and (root / name).is_dir()]
    except OSError as error:
        raise _unreadable(str(root), error) from error
    if "train" not in folders:
        there = f"; there are {', '.join(map(shown, folders[:5]))}" if folders else ""
        raise ValueError(
            f"there is no folder {root / 'train'}; it must hold a folder of images for each"
            f" class{there}"
        )
    chosen = {
        split: found[0]
        for split, known in SPLITS.items()
        if (found := [name for name in known if name in folders])
    }
    if (val := chosen.get("val", "val")) != "val":
        say(f"{root}: {val}/ is taken as val/")
    if unread := [name for name in folders if name not in chosen.values()]:
        listed = ", ".join(f"{shown(name)}/" for name in unread[:LISTED])
        read = ", ".join(f"{name}/" for name in chosen.values())
        say(f"{root}: {read} are read; {len(unread)} other folders are left out: {listed}")
    return {split: Folder(root / name) for split, name in chosen.items()}


def fingerprint(
    classes: list[str], target: np.ndarray, sizes: np.ndarray, names: pa.StringArray
) -> str:
    """Returns a SHA-256 of a source's contents, in hexadecimal.

    It covers classes, targets, sizes and names, and doesn't depend on where the source is.
    """
    digest = hashlib.sha256(json.dumps(classes).encode())
    digest.update(target.astype("<i8").tobytes() + sizes.astype("<i8").tobytes())
    for start in range(0, len(names), 10_000):
        digest.update("\n".join(names[start : start + 10_000].to_pylist()).encode())
    return digest.hexdigest()


def shown(name: str) -> str:
    r"""Returns a file's name as text; bytes that aren't UTF-8 become `\x…`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@cache
def say(text: str) -> None:
    """Logs a warning, but the same text only once in a process."""
    logger.warning("%s", text)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _unreadable(path: str, error: OSError) -> ValueError:
    return ValueError(
        f"{shown(path)} can't be read ({error.strerror}); give this user the right to read it, or"
        " move it away"
    )
