"""Checks of a search space's types, and conversion of NumPy and torch scalars to Python's."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

CHOICES = (type(None), bool, int, float, str)
"""Types of a categorical choice: those that Optuna can store."""
DISTRIBUTIONS = "FloatDistribution, IntDistribution and CategoricalDistribution"
"""Names of the supported distributions, for error messages."""


def plain(value: Any) -> Any:
    """Returns a value with its NumPy and torch scalars replaced by Python numbers.

    Lists, tuples, dicts, partials and categorical distributions are searched for scalars. A value
    without any is returned as the same object.
    """
    match value:
        case np.generic():
            return value.item()
        case np.ndarray() | torch.Tensor() if value.ndim == 0:
            return value.item()
        case partial():
            items, named = plain(value.args), plain(value.keywords)
            same = items is value.args and named is value.keywords
            return value if same else partial(value.func, *items, **named)
        case CategoricalDistribution():
            choices = plain(value.choices)
            return value if choices is value.choices else CategoricalDistribution(choices)
    if type(value) in (list, tuple):
        items = [plain(item) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if type(value) is dict:
        named = {plain(key): plain(item) for key, item in value.items()}
        pairs = zip([*named, *named.values()], [*value, *value.values()], strict=True)
        return value if all(new is old for new, old in pairs) else named
    return value


def check_kinds(space: Any, first: Any) -> None:
    """Checks that a search space and its first settings have types that can be searched and stored.

    Args:
        space: Mapping of hyperparameters' names to Optuna distributions.
        first: Sequence of settings that are tried first, each a mapping of names to values.

    Raises:
        ValueError: A type is not supported; the message says what to write instead.
    """
    if not isinstance(space, Mapping):
        raise ValueError(
            f"the space is a {type(space).__name__}; give a dict of Optuna's distributions by"
            " the names of hyperparameters"
        )
    for name, distribution in space.items():
        _check_distribution(name, distribution)
    listed = isinstance(first, Sequence) and not isinstance(first, str)
    if not listed or not all(isinstance(setting, Mapping) for setting in first):
        raise ValueError(
            f"first is {first!r}; give a list of settings, each a dict of values by name, such as"
            " [{}] for the defaults"
        )
    for setting in first:
        for name, value in setting.items():
            _check_setting(name, value, space.get(name))


def check_number(name: str, value: Any, default: Any) -> None:
    """Checks that a number is not given as text, as happens with `1e-3`, which YAML reads as text.

    Args:
        name: Name of the hyperparameter, for the message.
        value: Value to check.
        default: Default of the hyperparameter; only if it is a number is the value checked.

    Raises:
        ValueError: The value is text that reads as a number, and the default is a number.
    """
    number = isinstance(default, int | float) and not isinstance(default, bool)
    if number and isinstance(value, str) and (meant := _number(value)) is not None:
        raise ValueError(f"{name} is the text {value!r}; give the number {meant:g}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _check_distribution(name: Any, distribution: Any) -> None:
    if not isinstance(name, str):
        raise ValueError(f"the space has the name {name!r}; names of hyperparameters are text")
    match distribution:
        case FloatDistribution(low=low, high=high):
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ValueError(
                    f"the space's {name} goes from {low} to {high}; give finite bounds"
                )
        case IntDistribution():
            pass
        case CategoricalDistribution(choices=choices):
            for choice in choices:
                _check_choice(name, choice)
        case BaseDistribution():
            raise ValueError(
                f"the space's {name} is a {type(distribution).__name__}; known: {DISTRIBUTIONS}"
            )
        case _:
            several = isinstance(distribution, list | tuple | set | range) and distribution
            try_this = f"CategoricalDistribution({[*distribution]!r})" if several else ""
            raise ValueError(
                f"the space's {name} is {distribution!r}, of {_kind(distribution)}; give one of"
                f" Optuna's distributions, such as {try_this or 'FloatDistribution(0.1, 1.0)'}"
            )


def _check_choice(name: str, choice: Any) -> None:
    if not isinstance(choice, CHOICES):
        raise ValueError(
            f"the space's {name} has the choice {choice!r}, of {_kind(choice)}; choices are"
            " numbers, text, True, False and None: give it a name, and a method or optimizer of"
            " your own that takes the name (a function will do), or search its parts"
        )
    if isinstance(choice, float) and not math.isfinite(choice):
        raise ValueError(f"the space's {name} has the choice {choice}; give finite numbers")


def _check_setting(name: Any, value: Any, distribution: BaseDistribution | None) -> None:
    numeric = isinstance(distribution, FloatDistribution | IntDistribution)
    if numeric and isinstance(value, str):
        check_number(f"the first setting's {name}", value, 0.0)
    if not isinstance(value, CHOICES) or (numeric and isinstance(value, bool)):
        raise ValueError(
            f"the first setting has {name}={value!r}, of {_kind(value)}; give a"
            f" {'number' if numeric else 'number, text, True, False or None'}"
        )


def _kind(value: Any) -> str:
    kind = type(value)
    return f"the type {kind.__qualname__}" + (
        "" if kind.__module__ == "builtins" else f" of {kind.__module__}"
    )
