"""Finds data sets by name, for the command line.

Scripts can import the classes themselves.
"""

import inspect
from collections.abc import Callable
from typing import cast

from raykd.data.batch import Data
from raykd.discovery import definitions, lookup

PACKAGE = "raykd.data"


def find(name: str) -> Callable[..., Data]:
    """Returns the class of the data set `name`; upper and lower case are not distinguished.

    Raises:
        ValueError: `raykd.data` has no data set of this name.
    """
    known: dict[str, Callable[..., Data]] = {}
    for key in definitions(PACKAGE):
        value = lookup(PACKAGE, key)
        if (
            inspect.isclass(value)
            and hasattr(value, "train")
            and value is not Data
            and not inspect.isabstract(value)
        ):
            known[key.lower()] = cast("Callable[..., Data]", value)
    if name.lower() not in known:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(sorted(known))}")
    return known[name.lower()]
