"""Declares what a store may name: anyone who can write the bucket may have chosen it.

A study says in `study.json` what made its students and its data, and `raykd export` and `raykd
evaluate` make them again. They call nothing but factories that are declared here, and set no
argument but those that the factory itself lists.
"""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

NEVER = frozenset(
    ("root", "weights", "pretrained", "download", "verify", "on_damaged", "decoders", "device")
)
"""Arguments that no factory may list: paths, downloads, checks, and what a machine is used for."""


def storable(*arguments: str) -> Callable[[F], F]:
    """Lets a store name the decorated factory and set these of its arguments.

    They must be annotated with plain types (numbers, texts, tuples of them), or be factories that
    are declared as well. What a store says of other arguments is left out, so that they keep their
    defaults. Never list a path, or anything that fetches files or weakens a check.
    """

    def declare(factory: F) -> F:
        factory._storable = frozenset(arguments)  # type: ignore[attr-defined]
        return factory

    return declare


def declared(factory: Any) -> frozenset[str] | None:
    """Returns the arguments that a store may set; None for what it may not even name.

    A subclass declares its own.
    """
    found: frozenset[str] | None = vars(factory).get("_storable")
    return found
