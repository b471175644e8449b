"""Loads weights from files: the CRD benchmark's, torchvision's, raykd's own or anyone else's."""

import hashlib
from pathlib import Path

from torch import nn

from raykd.models.state_dict import fitting_state, read_content
from raykd.store.address import refuse_credentials
from raykd.store.errors import StoreError, UnavailableError


def load_weights(
    model: nn.Module, source: str | Path | bytes, *, sha256: str | None = None
) -> None:
    """Loads weights into `model`; the file must have every tensor of its state and no other.

    Args:
        model: The network.
        source: Path or `s3://…` address of the file, or its bytes. The file is in safetensors
            format, or `torch.save` wrote a state dict into it, bare or under any key of a
            checkpoint; see `raykd.models.state_dict` for details.
        sha256: Expected SHA-256 of the file, in hexadecimal; by default it is not checked.

    Raises:
        UnavailableError: The storage fails; the same call may succeed later.
        ValueError: The file can't be read, has another SHA-256, holds no weights, or has tensors
            that don't fit the model or aren't finite; the message says which.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(name)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ValueError(
            f"{name} has SHA-256 {found}, expected {sha256}; it is another file or was damaged:"
            " fetch it again, or correct the expected value"
        )
    model.load_state_dict(fitting_state(model, read_content(data, name), name))


def _read(uri: str) -> bytes:
    refuse_credentials(uri, "the address of the weights")
    from raykd.store.folder import read_file  # imported here: not needed if the weights are bytes

    try:
        return read_file(uri)
    except UnavailableError as error:  # kept apart: it may succeed later, so a study waits for it
        raise UnavailableError(f"the weights {uri} can't be read: {error}") from error
    except StoreError as error:
        raise ValueError(f"the weights {uri} can't be read: {error}") from error
