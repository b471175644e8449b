"""Stores and queries the results of studies in a local folder or in S3, without torch or Ray.

A module is imported when one of its names is first used: training needs only `Folder` and the
errors, and therefore runs where pyarrow is not installed.
"""

from typing import TYPE_CHECKING, Any

from raykd.discovery import attribute

if TYPE_CHECKING:
    from raykd.store.errors import StoreError, StoreWarning, UnavailableError, WriterReplacedError
    from raykd.store.folder import Folder
    from raykd.store.query import Study
    from raykd.store.store import Store, open_store
    from raykd.store.trials import Trial
    from raykd.store.writer import Writer

__all__ = [
    "Folder",
    "Store",
    "StoreError",
    "StoreWarning",
    "Study",
    "Trial",
    "UnavailableError",
    "Writer",
    "WriterReplacedError",
    "open_store",
]


def __getattr__(name: str) -> Any:
    """Returns a public name of this package and imports its module on first use."""
    return attribute(__name__, name)
