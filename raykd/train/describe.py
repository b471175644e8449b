"""Callables as JSON: to store them, and to hash what numbers depend on."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

PLAIN = int | float | str | bool | None
JOB_COPY = re.compile(r"(^|(?<=['\"]))/[^'\"]*/runtime_resources/working_dir_files/[^/'\"]+/")
"""Where Ray unpacks the working directory of a job: another folder after each change of a file."""


def describe(function: Callable[..., Any]) -> dict[str, Any]:
    """The name of a function or class, its module, and the arguments that a `partial` has bound.

    The same description means the same result as long as the code is the same; the commit is
    recorded beside it.

    Raises:
        ValueError: It is, or is bound to, something that can't be told from others like it.
    """
    function, arguments = _unbound(function)
    name = getattr(function, "__qualname__", "")
    if not name or name.endswith("<lambda>"):
        raise ValueError(
            f"{function!r} can't be told from others like it; give a function or a class that has"
            " a name, or a functools.partial of one"
        )
    plain = {key: described(value) for key, value in sorted(arguments.items())}
    return {"module": function.__module__, "name": name, **plain}


def locate(function: Callable[..., Any]) -> dict[str, Any]:
    """Where a function or class is, `module:name`, and its bound arguments, for `restore`."""
    function, arguments = _unbound(function)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", "")
    located = {key: _located(value) for key, value in arguments.items()}
    return {"function": f"{module}:{name}", "arguments": located}


def _unbound(function: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What the `partial`s are of, and what they bind by name, the outermost winning."""
    positional: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    while isinstance(function, partial):
        positional, named = (*function.args, *positional), {**function.keywords, **named}
        function = function.func
    if positional:
        named = {**inspect.signature(function).bind_partial(*positional).arguments, **named}
    return function, named


def described(value: Any) -> Any:
    """A value as JSON, which says what the same numbers need; see `describe`."""
    if inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, partial):
        return describe(value)
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if isinstance(value, str):
        return JOB_COPY.sub("", value)
    if isinstance(value, PLAIN):
        return value
    if f"{id(value):x}" in repr(value).lower():
        raise ValueError(
            f"the argument {value!r} can't be told from others like it; bind plain values, or give"
            f" {type(value).__name__} a __repr__ that shows what it holds"
        )
    return JOB_COPY.sub("", repr(value))


def _located(value: Any) -> Any:
    if inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, partial):
        return locate(value)
    if isinstance(value, list | tuple):
        return [_located(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value if isinstance(value, PLAIN) else {"lost": repr(value)}
