"""Artefacts: what a stage before the student makes once, for every trial."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Artefact(Protocol):
    """Makes what a stage before the student needs once, and keeps it for every later trial."""

    def __call__(self, kind: str, config: dict[str, Any], make: "Make", /) -> dict[str, Tensor]:
        """Returns the tensors stored under `kind` and the hash of `config`, made if not there.

        `config` holds everything the tensors depend on besides teacher and data, which the caller
        of `prepare` has bound already.
        """


@runtime_checkable
class Make(Protocol):
    """Computes an artefact."""

    def __call__(self) -> dict[str, Tensor]:
        """Returns the tensors to keep."""
