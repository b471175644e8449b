"""Hyperparameter studies for knowledge distillation; names are imported on first use (PEP 562)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from raykd.store import open_store as open_store
    from raykd.study import Study as Study

_HOME = {"Study": "raykd.study", "open_store": "raykd.store"}

__all__ = ["Study", "__version__", "open_store"]


def __getattr__(name: str) -> object:
    """Imports the module that defines `name`; the version is read from the installed package."""
    if name == "__version__":
        from importlib.metadata import version

        return version("raykd")
    if name not in _HOME:
        raise AttributeError(f"raykd has no {name!r}; it offers {', '.join(sorted(_HOME))}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Returns all names, including those that are not imported yet."""
    return sorted({*globals(), *_HOME})
