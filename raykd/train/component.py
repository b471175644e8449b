"""The callables that a user gives (classes, functions, partials): looked into, and as JSON."""

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
"""Folders whose modules are known by the same name everywhere."""
PLAIN = int | float | str | bool | None
JOB_COPY = re.compile(r"(^|(?<=['\"]))/[^'\"]*/runtime_resources/working_dir_files/[^/'\"]+/")
"""Where Ray unpacks the working directory of a job: another folder after each change of a file."""


@dataclass(frozen=True)
class Component:
    """A factory that the user gave, looked into once.

    Attributes:
        function: The class or function behind any `functools.partial`s.
        bound: The arguments that the partials have bound, by name; the outermost wins.
    """

    function: Callable[..., Any]
    bound: Mapping[str, Any]

    @classmethod
    def of(cls, given: Callable[..., Any]) -> "Component":
        """Looks into a class, a function or a partial of one.

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
        """The parameters of the function, bound ones among them."""
        return inspect.signature(self.function).parameters

    @property
    def name(self) -> str:
        """The name of the class or function."""
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
    """The name of a function or class, its module, and the arguments that a `partial` has bound.

    The same description means the same result as long as the code is the same; the commit is
    recorded beside it.

    Raises:
        ValueError: It is, or is bound to, something that can't be told from others like it.
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
    """Returns where a function or class lives, the same however its file came to be loaded.

    That is its room for raykd's own (`raykd.models`), so that a file may move within it; the
    file's name for a script, whether it was started, imported, or imported from a package; and
    `notebook` for what a notebook's cells define.
    """
    module = function.__module__
    if module.partition(".")[0] == "raykd":
        return ".".join(module.split(".")[:2])
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return "notebook" if module == "__main__" else module
    return module if str(file).startswith(INSTALLED) else Path(file).stem


def locate(function: Callable[..., Any]) -> dict[str, Any]:
    """Where a function or class is, `module:name`, and its bound arguments, for `restore`."""
    component = Component.of(function)
    function, arguments = component.function, component.bound
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", "")
    located = {key: _located(value) for key, value in arguments.items()}
    return {"function": f"{module}:{name}", "arguments": located}


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
