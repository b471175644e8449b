"""A store: studies below one root."""

import os
import re
from collections.abc import Callable
from typing import Any

from raykd.store.errors import StoreError
from raykd.store.folder import Folder
from raykd.store.query import Study
from raykd.store.writer import Writer

_RESERVED = ("artefacts", "ray")  # beside the studies, see docs/storage.md


class Store:
    """The studies in a folder.

    Args:
        folder: The store's root.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Store({self.folder.uri!r})"

    def studies(self) -> list[str]:
        """Returns the names of the studies, sorted."""
        return [
            name
            for name in self.folder.folders()
            if _valid(name) and self.folder.exists(f"{name}/study.json")
        ]

    def study(self, name: str) -> Study:
        """Returns a study to ask questions of.

        Raises:
            StoreError: There is none of this name; says which there are.
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
        """Begins or continues a study; see `Writer`.

        Raises:
            StoreError: The name is no name for a folder, or as `Writer` says.
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
        uri: Where; credentials, region and endpoint come from the standard AWS environment.
        create: Whether it may be new. Then it is also tried that it can be written to.

    Raises:
        StoreError: It is not there, or not reachable, readable, writable; says which and what to
            do, within seconds.
    """
    folder = Folder(uri)
    folder.check(write=create)
    if not create and not folder.folders():
        raise StoreError(f"there is no store at {folder.uri}: nothing is stored below it")
    return Store(folder)


def _valid(name: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*", name) is not None and name not in _RESERVED
