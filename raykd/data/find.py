"""Data sets by name, for the command line; scripts import the classes themselves."""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import cast

import raykd.data
from raykd.data.batch import Data


def find(name: str) -> Callable[..., Data]:
    """Returns the data set `name`: the class of that name, letter case aside.

    Raises:
        ValueError: No file in `raykd.data` defines it.
    """
    known: dict[str, Callable[..., Data]] = {}
    for module in pkgutil.iter_modules(raykd.data.__path__):
        file = import_module(f"raykd.data.{module.name}")
        known |= {
            key.lower(): cast("Callable[..., Data]", value)
            for key, value in inspect.getmembers(file, inspect.isclass)
            if value.__module__ == file.__name__
            and hasattr(value, "train")
            and value is not Data
            and not key.startswith("_")
            and not inspect.isabstract(value)
        }
    if name.lower() not in known:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(sorted(known))}")
    return known[name.lower()]
