"""Finds model factories by name, for the command line.

Scripts can import the factories themselves.
"""

import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from raykd.discovery import definitions, lookup

PACKAGE = "raykd.models"


def factories() -> dict[str, Callable[..., nn.Module]]:
    """Returns the model factories of this package by name.

    They are the public functions that take `num_classes` and have a default for every argument.
    """
    known: dict[str, Callable[..., nn.Module]] = {}
    for name, modules in definitions(PACKAGE).items():
        if len(modules) == 1 and inspect.isfunction(function := lookup(PACKAGE, name)):
            parameters = inspect.signature(function).parameters
            bare = all(p.default is not p.empty for p in parameters.values())
            if "num_classes" in parameters and bare:
                known[name] = function
    return known


def find(name: str) -> Callable[..., nn.Module]:
    """Returns the model factory `name`, of this package or of torchvision.

    Torchvision's classification models have the names that torchvision gives them. If both have a
    model of the same name (`vgg13`), that of this package is returned.

    Raises:
        ValueError: Neither has a model of this name.
    """
    from raykd.models import imagenet  # imported here because torchvision is slow to import

    known = factories()
    if name in known:
        return known[name]
    if name in imagenet.names():
        return partial(imagenet.torchvision_model, name)
    raise ValueError(
        f"unknown model {name!r}; known: {', '.join(sorted(known))}, and torchvision's by its names"
    )
