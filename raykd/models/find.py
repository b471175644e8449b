"""Model factories by name, for the command line; scripts import the factories themselves."""

import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from raykd.discovery import definitions, lookup

PACKAGE = "raykd.models"


def factories() -> dict[str, Callable[..., nn.Module]]:
    """The public functions of this folder that make a model without being told anything more."""
    known: dict[str, Callable[..., nn.Module]] = {}
    for name, modules in definitions(PACKAGE).items():
        if len(modules) == 1 and inspect.isfunction(function := lookup(PACKAGE, name)):
            parameters = inspect.signature(function).parameters
            bare = all(p.default is not p.empty for p in parameters.values())
            if "num_classes" in parameters and bare:
                known[name] = function
    return known


def find(name: str) -> Callable[..., nn.Module]:
    """Returns the model factory `name`, whichever family's file defines it.

    Any other classification model of torchvision goes by torchvision's name. Where both have a
    name (`vgg13`), it means this folder's.

    Raises:
        ValueError: Neither knows the name.
    """
    from raykd.models import imagenet  # torchvision takes a while to import

    known = factories()
    if name in known:
        return known[name]
    if name in imagenet.names():
        return partial(imagenet.torchvision_model, name)
    raise ValueError(
        f"unknown model {name!r}; known: {', '.join(sorted(known))}, and torchvision's by its names"
    )
