"""A store: the folder that contains studies."""

import os
import re
from collections.abc import Callable
from typing import Any

from raykd.store.errors import StoreError
from raykd.store.folder import Folder
from raykd.store.query import Study
from raykd.store.writer import Writer

_RESERVED = ("artefacts", "ray")  # names of other folders beside the studies, see docs/storage.md


class Store:
    """Opens, creates and lists the studies in a folder.

    Args:
        folder: Root folder of the store.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Store({self.folder.uri!r})"

    def studies(self) -> list[str]:
        """Returns the sorted names of the studies."""
        return [
            name
            for name in self.folder.folders()
            if _valid(name) and self.folder.exists(f"{name}/study.json")
        ]

    def study(self, name: str) -> Study:
        """Returns a study for queries.

        Raises:
            StoreError: There is no study of this name; the message lists the known names.
        """
        if not _valid(name) or not self.folder.exists(f"{name}/study.json"):
            known = ", ".join(self.studies()) or "none yet"
            raise StoreError(f"there is no study {name!r} in {self.folder.uri}; there are: {known}")
        return Study(self.folder.sub(name), name)

    def writer(
        self,
        name: str,
        spec: dict[str, Any],
        *,
        stale: float = 60.0,
        every: int = 32,
        wait: float = 0.0,
        say: Callable[[str], None] | None = None,
    ) -> Writer:
        """Creates or continues a study and returns its writer; see `Writer` for the arguments.

        Raises:
            StoreError: The name is invalid, or one of the reasons given in `Writer`.
        """
        if not _valid(name):
            raise StoreError(
                f"{name!r} cannot name a study; use letters, digits, '_', '-' and '.', beginning"
                f" with a letter or digit, and not {' or '.join(_RESERVED)}"
            )
        folder, named = self.folder.sub(name), {**spec, "name": name}
        return Writer(folder, named, stale=stale, every=every, wait=wait, say=say)


def open_store(uri: str | os.PathLike[str], *, create: bool = False) -> Store:
    """Opens the store at a local folder or `s3://bucket/prefix`.

    Args:
        uri: Address of the store; credentials, region and endpoint come from the standard AWS
            environment.
        create: Accept a store that does not exist yet, and test that it can be written to.

    Raises:
        StoreError: The store does not exist, or cannot be reached, read or written. This takes
            seconds at most, and the message says what to do.
    """
    folder = Folder(uri)
    folder.check(write=create)
    if not create and not folder.folders():
        raise StoreError(f"there is no store at {folder.uri}: nothing is stored below it")
    return Store(folder)


def _valid(name: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*", name) is not None and name not in _RESERVED
