"""Model factories by name, for the command line; scripts import the factories themselves."""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module

from torch import nn

import raykd.models


def find(name: str) -> Callable[..., nn.Module]:
    """Returns the model factory `name`, whichever family's file defines it.

    Raises:
        ValueError: No file in `raykd.models` defines a public function of that name.
    """
    known: dict[str, Callable[..., nn.Module]] = {}
    for module in pkgutil.iter_modules(raykd.models.__path__):
        family = import_module(f"raykd.models.{module.name}")
        known |= {
            key: value
            for key, value in inspect.getmembers(family, inspect.isfunction)
            if value.__module__ == family.__name__
            and inspect.signature(value).return_annotation not in (None, inspect.Signature.empty)
            and "num_classes" in inspect.signature(value).parameters
        }
    if name not in known:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(sorted(known))}")
    return known[name]
