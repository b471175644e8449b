"""Search spaces: Optuna distributions by the names of hyperparameters."""

from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

Distribution = BaseDistribution
"""Optuna distribution of one hyperparameter."""
Space = Mapping[str, Distribution]
"""Search space: a distribution for each hyperparameter that is searched, by name."""


def space_to_json(space: Space) -> dict[str, str]:
    """Returns each distribution in Optuna's JSON format, by name and in the order of the names."""
    return {
        name: distribution_to_json(distribution) for name, distribution in sorted(space.items())
    }


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Yields each bound of a range and each choice as a setting of that one hyperparameter."""
    for name, distribution in space.items():
        match distribution:
            case FloatDistribution() | IntDistribution():
                yield from ({name: end} for end in (distribution.low, distribution.high))
            case CategoricalDistribution():
                yield from ({name: choice} for choice in distribution.choices)


def contains(distribution: Distribution, value: Any) -> bool:
    """Returns True if a value lies in a distribution."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, OverflowError):
        return False
