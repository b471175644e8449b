"""Restores the factories that a store names, if they and their arguments are declared."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from raykd.discovery import definitions
from raykd.storable import declared

HOMES = {"student": "raykd.models", "data": "raykd.data"}
"""Package whose factories a store may name, by the role of what they make."""
LARGEST = 10**8
"""Largest integer that a store may give as an argument.

It bounds the size of a data set; that of a network is bounded by its checkpoint.
"""
UNMAKEABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Exceptions that a factory may raise for arguments that do not fit together."""
_LONGEST = 1000  # largest number of characters in a text, and of values in a tuple
_SPARE_NUMBERS = 2**24  # numbers that a network may have beyond twice those of its checkpoint


@dataclass(frozen=True)
class Restored:
    """A factory that a store named, with its arguments.

    Attributes:
        make: The factory; a `partial` of it if it has arguments.
        left_out: Names of the store's arguments that a store may not set, and were left out.
        taken: Names of the user's arguments that the factory, or a factory among its arguments,
            takes.
    """

    make: Callable[..., Any]
    left_out: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()


def restore(
    located: Any, role: str, instead: str = "", given: Mapping[str, Any] | None = None
) -> Restored:
    """Returns the factory that `component.locate` described; lists in its arguments become tuples.

    Args:
        located: Description from the store, in the form that `locate` returns. It is not trusted,
            as anyone may have written it: it may name only what `raykd.storable` declares.
        role: `student` or `data`; also names the option that gives `instead` in error messages.
        instead: `module:name` of a factory that replaces the stored one. It gets those of the
            store's arguments that it declares or, if it declares none, the numbers among those
            that it takes.
        given: Arguments of the user, which go to every factory with a parameter of that name.

    Raises:
        ValueError: The factory is not declared, or a value is of the wrong type or size.
    """
    advice = f"give --{role} module:function, a function that can be imported from here"
    place, arguments = _read(located, role, advice)
    function = _imported(instead, role, advice) if instead else _declared(place, role, advice)
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    user_given = {
        name: value
        for name, value in (given or {}).items()
        if name in parameters or (instead and open_ended)
    }
    others = {name: value for name, value in arguments.items() if name not in user_given}
    if instead:
        known = parameters.keys() | (others if open_ended else ())
        found = _fitting(function, {n: v for n, v in others.items() if n in known})
        return Restored(partial(function, **found, **user_given), (), tuple(user_given))
    for name, value in others.items():
        if isinstance(value, dict) and "lost" in value:
            raise ValueError(
                f"the {role} was made with {name}={value['lost']}, which can't be kept; give"
                f" --{role} module:function, a function that needs no {name}"
            )
    allowed = declared(function) or frozenset()
    nested = {
        name: restore(value, role, given=given)
        for name, value in others.items()
        if name in allowed and isinstance(value, dict)
    }
    values = {
        name: nested[name].make if name in nested else _frozen(value)
        for name, value in others.items()
        if name in allowed
    }
    if wrong := sorted(values.keys() - _fitting(function, values).keys()):
        raise ValueError(
            f"the {role}'s {wrong[0]} is {others[wrong[0]]!r} in the store, which {place} can't"
            f" have; {advice}"
        )
    return Restored(
        partial(function, **values, **user_given) if values or user_given else function,
        (*(others.keys() - allowed), *(name for n in nested.values() for name in n.left_out)),
        (*user_given, *(name for n in nested.values() for name in n.taken)),
    )


@contextmanager
def no_larger_than(checkpoint: Iterable[Tensor]) -> Iterator[None]:
    """Context in which creating a network much larger than its checkpoint raises an error.

    The sizes come from the store, which is not trusted, and must not fill this machine's memory.
    Parameters of twice the checkpoint's size and a little more are allowed, as a factory may
    create parameters that it discards.

    Args:
        checkpoint: Tensors of the checkpoint.

    Raises:
        ValueError: The network is larger.
    """
    tensors = list(checkpoint)
    most = 2 * sum(tensor.numel() for tensor in tensors) + _SPARE_NUMBERS
    seen: dict[int, nn.Parameter] = {}  # keeps the parameters alive, so that no id is reused
    numbers = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal numbers
        if parameter is not None and id(parameter) not in seen:
            seen[id(parameter)] = parameter
            numbers += parameter.numel()
        if numbers > most or len(seen) > 2 * len(tensors) + 1000:
            raise ValueError("the network is larger than its checkpoint")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _read(located: Any, role: str, advice: str) -> tuple[str, dict[str, Any]]:
    if isinstance(located, dict):
        place, arguments = located.get("function"), located.get("arguments")
        named = isinstance(arguments, dict) and all(map(str.isidentifier, arguments))
        if isinstance(place, str) and isinstance(arguments, dict) and named:
            return place, arguments
    raise ValueError(f"the store does not say what made the {role}; {advice}")


def _declared(place: str, role: str, advice: str) -> Callable[..., Any]:
    """Imports a factory that a store names, after checking that a store may name it.

    A definition that has moved to another file of its package since then is found there.
    """
    home = HOMES[role]
    if not place.startswith("raykd."):
        raise ValueError(f"the {role} was made by {place}, which is not of raykd; {advice}")
    if re.fullmatch(rf"{re.escape(home)}\.[a-z0-9_]+:[A-Za-z]\w*", place, re.ASCII):
        module, _, name = place.partition(":")
        if (moved := definitions(home).get(name, ())) and module not in moved:
            place = f"{moved[0]}:{name}"
        function = _imported(place, role, advice)
        own = getattr(function, "__module__", "") == place.partition(":")[0]
        if callable(function) and own and declared(function) is not None:
            return function
    raise ValueError(
        f"{place} makes no {role} that a store may name, as the functions and classes of {home}"
        f" do; {advice}"
    )


def _imported(place: str, role: str, advice: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    try:
        function: Any = import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"can't find the {role}'s {place} ({error}); {advice}") from error
    if not callable(function):
        raise ValueError(f"{place} is no function or class; {advice}")
    return function  # type: ignore[no-any-return]


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _fitting(function: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values that a factory's arguments can have, with lists as tuples.

    These are the declared arguments whose values are of the annotated type; if the factory
    declares none, all numbers.
    """
    allowed = declared(function)
    if allowed is None:
        return {name: value for name, value in values.items() if _fits(value, int | float)}
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    frozen = {name: _frozen(value) for name, value in values.items() if name in allowed}
    return {name: value for name, value in frozen.items() if _fits(value, hints[name])}


def _fits(value: Any, hint: Any) -> bool:
    """Returns True if a value from a store is of the annotated type and of a moderate size."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is type:
        return value in parts
    if origin is Callable or hint is Callable:
        return callable(value)
    if origin is tuple:
        if not isinstance(value, tuple) or len(value) > _LONGEST:
            return False
        kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if hint is str:
        return isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()
    if hint is int or (hint is float and type(value) is int):
        return type(value) is int and abs(value) <= LARGEST
    if hint is float:
        return type(value) is float and isfinite(value)
    return hint in (bool, NoneType) and type(value) is (hint or NoneType)
