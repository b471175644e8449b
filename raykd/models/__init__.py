"""Teachers and students: a file a family; every model returns an `Output` and has a `head`."""

from raykd.models.find import find
from raykd.models.output import Model, Output

__all__ = ["Model", "Output", "find"]
