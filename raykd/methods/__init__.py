"""Distillation methods: one paper a file, its terms as pure functions, one class that joins them.

Adding a method is one file with one `Method` in it (and its test): nothing lists them. Each can be
imported from here (`from raykd.methods import ITRD`); its file is loaded then.
"""

from typing import Any

from raykd.discovery import attribute
from raykd.methods.artefact import Artefact
from raykd.methods.method import Method, find, names

__all__ = ["Artefact", "Method", "find", "names"]


def __getattr__(name: str) -> Any:
    """Returns what a file of this package defines."""
    return attribute(__name__, name)
