"""Data sets, one file for each; all of them yield a `Batch`.

Each can be imported from here (`from raykd.data import CIFAR100`); its file is loaded only then.
"""

from typing import Any

from raykd.data.batch import Batch, Data
from raykd.data.find import find
from raykd.discovery import attribute

__all__ = ["Batch", "Data", "find"]


def __getattr__(name: str) -> Any:
    """Returns the definition of `name` from the file of this package that has it."""
    return attribute(__name__, name)
