"""Distillation methods: one paper a file, its terms as pure functions, one class that joins them.

Adding a method is one file with one `Method` in it (and its test): nothing lists them.
"""

from raykd.methods.method import Artefact, Method, find, names

__all__ = ["Artefact", "Method", "find", "names"]
