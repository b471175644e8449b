"""Callables as JSON: to store them, to hash what numbers depend on, to make them again."""

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

PLAIN = int | float | str | bool | None


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
    plain = {key: _described(value) for key, value in sorted(arguments.items())}
    return {"module": function.__module__, "name": name, **plain}


def locate(function: Callable[..., Any]) -> dict[str, Any]:
    """Where a function or class is, `module:name`, and its bound arguments; see `restore`."""
    function, arguments = _unbound(function)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", "")
    located = {key: _located(value) for key, value in arguments.items()}
    return {"function": f"{module}:{name}", "arguments": located}


def restore(located: dict[str, Any], role: str, instead: str = "") -> Callable[..., Any]:
    """Returns what `locate` was told of; bound lists come back as tuples.

    Args:
        located: As `locate` returned it. Anyone can have written it, so nothing but raykd's own
            functions and classes is taken at its word.
        role: What it makes: what to call it in an error, and the option that gives `instead`.
        instead: `module:name` of what takes its place, with those of its arguments that it takes
            and that are plain values.

    Raises:
        ValueError: It can't be found or made again, or lies outside of raykd.
    """
    place, arguments = instead or located["function"], located["arguments"]
    advice = f"give --{role} module:function, a function that can be imported from here"
    module, _, name = place.partition(":")
    if not instead and module.partition(".")[0] != "raykd":
        raise ValueError(f"the {role} was made by {place}, which is not of raykd; {advice}")
    try:
        function: Any = import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"can't find the {role}'s {place} ({error}); {advice}") from error
    if not callable(function) or (not instead and getattr(function, "__module__", "") != module):
        raise ValueError(f"{place} is no function or class of {module}; {advice}")
    if instead:
        taken = inspect.signature(function).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in taken.values())
        arguments = {
            key: value
            for key, value in arguments.items()
            if isinstance(value, PLAIN) and (open_ended or key in taken)
        }
    return partial(function, **{key: _restored(v, key, role) for key, v in arguments.items()})


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


def _described(value: Any) -> Any:
    if inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, partial):
        return describe(value)
    if isinstance(value, list | tuple):
        return [_described(item) for item in value]
    if isinstance(value, PLAIN):
        return value
    if f"{id(value):x}" in repr(value).lower():
        raise ValueError(
            f"the argument {value!r} can't be told from others like it; bind plain values, or give"
            f" {type(value).__name__} a __repr__ that shows what it holds"
        )
    return repr(value)


def _located(value: Any) -> Any:
    if inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, partial):
        return locate(value)
    if isinstance(value, list | tuple):
        return [_located(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value if isinstance(value, PLAIN) else {"lost": repr(value)}


def _restored(value: Any, name: str, role: str) -> Any:
    if isinstance(value, list):
        return tuple(_restored(item, name, role) for item in value)
    if not isinstance(value, dict):
        return value
    if "lost" in value:
        raise ValueError(
            f"the {role} was made with {name}={value['lost']}, which can't be kept; give"
            f" --{role} module:function, a function that needs no {name}"
        )
    return restore(value, role)
