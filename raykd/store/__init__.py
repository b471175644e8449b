"""Results of studies on a local folder or in S3, and questions to them; no torch, no ray.

A name's file is loaded when the name is first asked for: training needs folders and errors alone,
and runs where pyarrow is missing.
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
    """Returns what a file of this package defines."""
    return attribute(__name__, name)
