"""Distillation methods, one paper per file: its terms as pure functions and one `Method` class.

To add a method, write one file with one `Method` in it (and its test); there is no list to extend.
Each method can be imported from here (`from raykd.methods import ITRD`); its file is loaded then.
"""

from typing import Any

from raykd.discovery import attribute
from raykd.methods.artefact import Artefact
from raykd.methods.method import Method, find, names

__all__ = ["Artefact", "Method", "find", "names"]


def __getattr__(name: str) -> Any:
    """Returns what a file of this package defines."""
    return attribute(__name__, name)
