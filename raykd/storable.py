"""Allow-list of the factories and arguments that a store may name.

A study records in `study.json` which factories made its students and its data, and `raykd export`
and `raykd evaluate` call them again. Anyone who can write to the bucket may have changed that
file. Therefore only factories that are declared here are called, and only the arguments that the
factory itself lists are set.
"""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

NEVER = frozenset(
    ("root", "weights", "pretrained", "download", "verify", "on_damaged", "decoders", "device")
)
"""Arguments that no factory may list, because a store must not choose them.

They are paths, downloads, checks, and the use of the machine (its processes and its device).
"""


def storable(*arguments: str) -> Callable[[F], F]:
    """Lets a store name the decorated factory and set the listed arguments.

    The arguments must be annotated with plain types (numbers, strings, tuples of them), or be
    factories that are declared as well. Values that a store gives for other arguments are ignored,
    so these keep their defaults. Never list a path, or anything that fetches files or weakens a
    check.

    Args:
        arguments: Names of the arguments that a store may set.
    """

    def declare(factory: F) -> F:
        factory._storable = frozenset(arguments)  # type: ignore[attr-defined]
        return factory

    return declare


def declared(factory: Any) -> frozenset[str] | None:
    """Returns the arguments of a factory that a store may set, or None if it may not name it.

    A subclass does not inherit the declaration; it must make its own.
    """
    found: frozenset[str] | None = vars(factory).get("_storable")
    return found
