"""Teachers and students: a file a family; every model returns an `Output` and has a `head`.

Each can be imported from here (`from raykd.models import resnet18`); its file is loaded then.
"""

from typing import Any

from raykd.discovery import attribute
from raykd.models.find import find
from raykd.models.output import Model, Output
from raykd.models.wrap import wrap

__all__ = ["Model", "Output", "find", "wrap"]


def __getattr__(name: str) -> Any:
    """Returns what a file of this package defines."""
    return attribute(__name__, name)
