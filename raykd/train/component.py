"""Inspects the classes, functions and partials that a user gives; describes them as JSON."""

import inspect
import re
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")})
"""Folders of installed packages, whose modules have the same import name on every machine."""
PLAIN = int | float | str | bool | None
"""Types of values that JSON holds as they are."""
JOB_COPY = re.compile(r"(^|(?<=['\"]))/[^'\"]*/runtime_resources/working_dir_files/[^/'\"]+/")
"""Prefix of a path in a Ray job's copy of its working directory.

Ray unpacks it into another folder after each change of a file, so `described` removes the prefix.
"""


@dataclass(frozen=True)
class Component:
    """A factory that the user gave, split into its function and its bound arguments.

    Attributes:
        function: Class or function behind any `functools.partial`s.
        bound: Arguments that the partials have bound, by name; the outermost partial wins.
    """

    function: Callable[..., Any]
    bound: Mapping[str, Any]

    @classmethod
    def of(cls, given: Callable[..., Any]) -> "Component":
        """Inspects a class, a function or a (nested) partial of one.

        Raises:
            TypeError: A partial has bound positional arguments that the function does not take.
        """
        positional: tuple[Any, ...] = ()
        named: dict[str, Any] = {}
        while isinstance(given, partial):
            positional, named = (*given.args, *positional), {**given.keywords, **named}
            given = given.func
        if positional:
            named = {**inspect.signature(given).bind_partial(*positional).arguments, **named}
        return cls(given, named)

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Parameters of the function by name, including the bound ones."""
        return inspect.signature(self.function).parameters

    @property
    def name(self) -> str:
        """Name of the class or function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def accepts(self, name: str) -> bool:
        """Returns True if the function takes a keyword argument of this name."""
        return name in self.parameters or any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in self.parameters.values()
        )

    def refused(self) -> list[str]:
        """Returns the names of bound arguments that the function does not take."""
        return sorted(name for name in self.bound if not self.accepts(name))


def describe(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns a function's or class's name, module and `partial`-bound arguments as JSON.

    The description is part of a study's identity: equal descriptions mean equal results as long as
    the code is the same. The commit of the code is recorded separately.

    Raises:
        ValueError: The function has no name of its own (a lambda), or a bound argument has no
            `repr` that shows its contents.
    """
    component = Component.of(function)
    function, arguments = component.function, component.bound
    name = getattr(function, "__qualname__", "")
    if not name or name.endswith("<lambda>"):
        raise ValueError(
            f"{function!r} can't be told from others like it; give a function or a class that has"
            " a name, or a functools.partial of one"
        )
    plain = {key: described(value) for key, value in sorted(arguments.items())}
    return {"module": _home(function), "name": name, **plain}


def _home(function: Callable[..., Any]) -> str:
    """Returns a module name that does not depend on how the function's file was loaded.

    For raykd's own code this is the package (`raykd.models`), so that a definition may move to
    another file in it; for an installed package the full module name; for a script its file name,
    whether it was run or imported; and `notebook` for definitions in a notebook's cells.
    """
    module = function.__module__
    if module.partition(".")[0] == "raykd":
        return ".".join(module.split(".")[:2])
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return "notebook" if module == "__main__" else module
    return module if str(file).startswith(INSTALLED) else Path(file).stem


def locate(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns a function's or class's `module:name` and bound arguments, for `restore`."""
    component = Component.of(function)
    function, arguments = component.function, component.bound
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", "")
    located = {key: _located(value) for key, value in arguments.items()}
    return {"function": f"{module}:{name}", "arguments": located}


def described(value: Any) -> Any:
    """Returns a bound argument as JSON for a description; see `describe`.

    Values that are neither plain nor callable are described by their `repr`.

    Raises:
        ValueError: The `repr` shows the value's address in memory instead of its contents.
    """
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
