"""Interfaces for artefacts: tensors computed once before students are trained, for all trials."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Artefact(Protocol):
    """Store that computes each artefact at its first request and keeps it for every later trial."""

    def __call__(self, kind: str, config: dict[str, Any], make: "Make", /) -> dict[str, Tensor]:
        """Returns the tensors stored under `kind` and the hash of `config`.

        If there are none, they are computed by `make` and stored. `config` holds everything that
        the tensors depend on besides teacher and data, which the caller of `prepare` has bound
        already.
        """


@runtime_checkable
class Make(Protocol):
    """Function that computes an artefact."""

    def __call__(self) -> dict[str, Tensor]:
        """Returns the tensors to keep."""
