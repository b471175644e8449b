"""Hyperparameter studies: the `Study` class that users write, and the code that runs it.

`Study` is imported on first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raykd.study.study import Study as Study

__all__ = ["Study"]


def __getattr__(name: str) -> object:
    """Imports `Study`, and torch with it, on first access."""
    if name != "Study":
        raise AttributeError(f"raykd.study has no {name!r}; it offers Study")
    from raykd.study.study import Study

    return Study
