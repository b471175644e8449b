"""Starting points: the settings that a study tries first, completed for its search space."""

import inspect
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from raykd.search.space import Distribution, Space, contains


def complete(
    first: Sequence[Mapping[str, Any]], space: Space, defaults: Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """Returns the settings with a value for every hyperparameter of the space.

    A hyperparameter that a setting leaves out gets its default or, if the default lies outside of
    the space, the nearest value inside it.

    Args:
        first: Settings that are tried first, each a mapping of names to values.
        space: Search space.
        defaults: Default values by name; a name may be missing.
    """
    fallback = {name: nearest(space[name], _default(defaults, name)) for name in space}
    return tuple({name: setting.get(name, fallback[name]) for name in space} for setting in first)


def left_out(
    first: Sequence[Mapping[str, Any]], space: Space, defaults: Mapping[str, Any]
) -> list[str]:
    """Returns a message for each default that `complete` replaces by a value inside the space."""
    messages = []
    for name, distribution in space.items():
        value = _default(defaults, name)
        if contains(distribution, value) or all(name in setting for setting in first):
            continue
        default = (
            f"{name} has no default"
            if value is inspect.Parameter.empty
            else f"the default {name}={value!r} lies outside of the space"
        )
        instead = nearest(distribution, value)
        messages.append(f"{default}: the first trial starts from {name}={instead!r}, inside of it")
    return messages


def nearest(distribution: Distribution, value: Any) -> Any:
    """Returns the value of a distribution that is nearest to `value`; itself if it is inside.

    For a value that is not a number, it is the middle of a range (the geometric mean of the bounds
    on a log scale) or the first choice. The first choice is also taken if no choice is a number.

    Raises:
        ValueError: The distribution is none of Optuna's three.
    """
    if contains(distribution, value):
        return value
    number = isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)
    match distribution:
        case CategoricalDistribution(choices=choices):
            numbers = [c for c in choices if isinstance(c, Real) and not isinstance(c, bool)]
            return min(numbers, key=lambda c: abs(c - value)) if number and numbers else choices[0]
        case FloatDistribution() | IntDistribution():
            low, high = distribution.low, distribution.high
            middle = math.sqrt(low * high) if distribution.log else (low + high) / 2
            value = min(max(float(value), low), high) if number else middle
            if distribution.step:
                value = low + round((value - low) / distribution.step) * distribution.step
            whole = isinstance(distribution, IntDistribution)
            return int(value) if whole else min(float(value), float(high))
    raise ValueError(f"{distribution} is no distribution of a study's space")


def _default(defaults: Mapping[str, Any], name: str) -> Any:
    return defaults.get(name, inspect.Parameter.empty)
