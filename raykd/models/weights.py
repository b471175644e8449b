"""Weights from files: the CRD benchmark's checkpoints, torchvision's, raykd's own, anyone's."""

import hashlib
import pickle
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from pyarrow.fs import FileSystem
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from raykd.store.address import refuse_credentials

KEYS = ("model", "state_dict")
"""Where a checkpoint keeps the network's state: the CRD benchmark's key, and the usual one."""


def load_weights(
    model: nn.Module, source: str | Path | bytes, *, sha256: str | None = None
) -> None:
    """Loads weights into `model`, every tensor and no other.

    Args:
        model: The network.
        source: A path, `s3://…`, or the file's bytes. The file holds safetensors, or a state
            dict as `torch.save` writes it, bare or in a checkpoint under one of `KEYS`.
        sha256: What the file's SHA-256 must be, in hexadecimal.

    Raises:
        ValueError: The file can't be read, isn't the expected one, holds no weights, or its
            tensors aren't the model's; says which are missing, unexpected or of another shape.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(name)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ValueError(
            f"{name} has SHA-256 {found}, expected {sha256}; it is another file or was damaged:"
            " fetch it again, or correct the expected value"
        )
    state = _state(data, name)
    _check(model, state, name)
    model.load_state_dict(state)


def _read(uri: str) -> bytes:
    refuse_credentials(uri, "the address of the weights")
    try:
        if "://" not in uri:
            return Path(uri).expanduser().read_bytes()
        filesystem, path = FileSystem.from_uri(uri)
        with filesystem.open_input_file(path) as file:
            data: bytes = file.read()
            return data
    except OSError as error:
        raise ValueError(f"the weights {uri} can't be read: {error}") from error


def _state(data: bytes, name: str) -> dict[str, Tensor]:
    try:
        # A safetensors file begins with the length of its JSON header.
        if data[8:9] == b"{":
            return dict(load_safetensors(data))
        content: Any = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{name} is neither safetensors nor a checkpoint of tensors alone ({reason}); save the"
            " network's state_dict with safetensors.torch.save_file"
        ) from error
    for key in KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"{name} holds no state dict; it must be one, or have it under {' or '.join(KEYS)}"
        )
    return dict(content)


def _check(model: nn.Module, state: dict[str, Tensor], name: str) -> None:
    expected = model.state_dict()
    shapes = [
        f"{key} is {tuple(state[key].shape)} and should be {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    differences = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": shapes,
    }
    if any(differences.values()):
        listed = "; ".join(
            f"{len(keys)} {kind}: {', '.join(keys[:5])}{', …' if len(keys) > 5 else ''}"
            for kind, keys in differences.items()
            if keys
        )
        raise ValueError(
            f"the weights {name} don't fit {type(model).__name__} ({listed}); choose the model"
            " and the number of classes that they were trained with"
        )
