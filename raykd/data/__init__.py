"""Data sets: a file a data set; every loader yields a `Batch`.

Each can be imported from here (`from raykd.data import CIFAR100`); its file is loaded then.
"""

from typing import Any

from raykd.data.batch import Batch, Data
from raykd.data.find import find
from raykd.discovery import attribute

__all__ = ["Batch", "Data", "find"]


def __getattr__(name: str) -> Any:
    """Returns what a file of this package defines."""
    return attribute(__name__, name)
