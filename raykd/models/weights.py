"""Weights from files: the CRD benchmark's checkpoints, torchvision's, raykd's own, anyone's."""

import hashlib
from pathlib import Path

from torch import nn

from raykd.models.state_dict import fitting_state, read_content
from raykd.store.address import refuse_credentials
from raykd.store.errors import StoreError, UnavailableError


def load_weights(
    model: nn.Module, source: str | Path | bytes, *, sha256: str | None = None
) -> None:
    """Loads weights into `model`, every tensor and no other.

    Args:
        model: The network.
        source: A path, `s3://…`, or the file's bytes. The file holds safetensors, or a state
            dict as `torch.save` writes it, bare or under any key of a checkpoint; see
            `raykd.models.state_dict` for what is understood.
        sha256: What the file's SHA-256 must be, in hexadecimal.

    Raises:
        ValueError: The file can't be read, isn't the expected one, holds no weights, or its
            tensors aren't the model's or aren't finite; says which.
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
    from raykd.store.folder import read_file  # not needed where weights come as bytes

    try:
        return read_file(uri)
    except UnavailableError as error:  # the same may succeed later: a study waits for it
        raise UnavailableError(f"the weights {uri} can't be read: {error}") from error
    except StoreError as error:
        raise ValueError(f"the weights {uri} can't be read: {error}") from error
