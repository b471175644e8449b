"""Callables as JSON, for what is stored and for hashes of what numbers depend on."""

from collections.abc import Callable
from functools import partial
from typing import Any


def describe(function: Callable[..., Any]) -> dict[str, Any]:
    """The name of a function or class, and the arguments that a `partial` has bound to it.

    The same description means the same result as long as the code is the same; the commit is
    recorded beside it.
    """
    arguments: dict[str, Any] = {}
    while isinstance(function, partial):
        arguments = {**function.keywords, **arguments}
        function = function.func
    name = getattr(function, "__qualname__", type(function).__qualname__)
    plain = {
        key: value if isinstance(value, int | float | str | bool | None) else _plain(value)
        for key, value in arguments.items()
    }
    return {"name": name, **plain}


def _plain(value: Any) -> Any:
    if callable(value):
        return describe(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | str | bool | None) else repr(value)
