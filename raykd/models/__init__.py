"""Networks for teachers and students, one file for each family.

Every model returns an `Output` and has a `head`. Each can be imported from here
(`from raykd.models import resnet18`); its file is loaded only then.
"""

from typing import Any

from raykd.discovery import attribute
from raykd.models.find import find
from raykd.models.output import Model, Output
from raykd.models.wrap import wrap

__all__ = ["Model", "Output", "find", "wrap"]


def __getattr__(name: str) -> Any:
    """Returns the definition of `name` from the file of this package that has it."""
    return attribute(__name__, name)
