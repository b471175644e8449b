"""Checks of a method's loss terms: `forward` returns a dict of scalars whose sum is the loss."""

import inspect
from typing import Any

from torch import Tensor, nn


def checked(terms: Any, method: nn.Module) -> dict[str, Tensor]:
    """Returns `terms` unchanged if they are a dict of scalar floating-point tensors.

    Raises:
        ValueError: They are not; the message names the file and line of the method's `forward`.
    """
    if not isinstance(terms, dict):
        raise _wrong(method, f"a {type(terms).__name__}")
    for name, term in terms.items():
        if not isinstance(name, str):
            raise _wrong(method, f"a term named {name!r}, which is no text")
        if not isinstance(term, Tensor):
            raise _wrong(method, f"{name!r} as a {type(term).__name__}, which is no tensor")
        if term.dim():
            raise _wrong(method, f"{name!r} of shape {tuple(term.shape)}; reduce it, as by .mean()")
        if not term.is_floating_point():
            raise _wrong(method, f"{name!r} of {term.dtype}")
    return terms


def check_gradient(terms: dict[str, Tensor], method: nn.Module) -> None:
    """Checks that a term has a gradient, so that there is something to learn from.

    Raises:
        ValueError: No term has a gradient.
    """
    if not any(term.requires_grad for term in terms.values()):
        names = ", ".join(map(repr, terms)) or "no terms"
        raise _wrong(method, f"{names}, without a gradient; compute them from the student's output")


def _wrong(method: nn.Module, found: str) -> ValueError:
    code = inspect.unwrap(type(method).forward).__code__
    return ValueError(
        "forward must return a dict of scalar terms, such as {'ce': loss}, whose sum is the loss;"
        f" {type(method).__qualname__}'s ({code.co_filename}:{code.co_firstlineno}) returns {found}"
    )
