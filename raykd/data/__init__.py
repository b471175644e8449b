"""Data sets: a file a data set; every loader yields a `Batch`."""

from raykd.data.batch import Batch, Data
from raykd.data.find import find

__all__ = ["Batch", "Data", "find"]
