"""Results of studies on a local folder or in S3, and questions to them; no torch, no ray."""

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
