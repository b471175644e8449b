"""Model factories by name, for the command line; scripts import the factories themselves."""

import inspect
import pkgutil
from collections.abc import Callable
from functools import partial
from importlib import import_module

from torch import nn

import raykd.models


def factories() -> dict[str, Callable[..., nn.Module]]:
    """The public functions of this folder that make a model without being told anything more."""
    known: dict[str, Callable[..., nn.Module]] = {}
    for module in pkgutil.iter_modules(raykd.models.__path__):
        family = import_module(f"raykd.models.{module.name}")
        for name, function in inspect.getmembers(family, inspect.isfunction):
            parameters = inspect.signature(function).parameters
            bare = all(p.default is not p.empty for p in parameters.values())
            if function.__module__ == family.__name__ and "num_classes" in parameters and bare:
                known[name] = function
    return known


def find(name: str) -> Callable[..., nn.Module]:
    """Returns the model factory `name`, whichever family's file defines it.

    Any other classification model of torchvision goes by torchvision's name. Where both have a
    name (`vgg13`), it means this folder's.

    Raises:
        ValueError: Neither knows the name.
    """
    from raykd.models import imagenet

    known = factories()
    if name in known:
        return known[name]
    if name in imagenet.names():
        return partial(imagenet.torchvision_model, name)
    raise ValueError(
        f"unknown model {name!r}; known: {', '.join(sorted(known))}, and torchvision's by its names"
    )
