"""Finds a network's state dict in a checkpoint file, under any key and with any common prefix.

If there is none that fits the network, the error says why.
"""

import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint

KEYS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which checkpoints usually keep a network's state.

They are only named as examples in messages; a state is found under any other key too.
"""

WRAPPERS = ("_orig_mod", "module")
"""Parts that `torch.compile` and `DataParallel` insert into names, at the front or further in."""

LISTED = 5
"""Largest number of names in a message; the others are left out for brevity."""

BEGINNINGS = {
    b"version https://git-lfs": "it is a pointer of Git LFS and not the file; run `git lfs pull`",
    b"\x89HDF": "it is an HDF5 file, as Keras writes them",
    b"GGUF": "it is a GGUF file of llama.cpp",
    b"\x93NUMPY": "it is a NumPy array",
    b"\x1f\x8b": "it is compressed by gzip; unpack it",
    b"\x08": "it is a protocol buffer, as ONNX and TensorFlow write them",
    b"{": "it is JSON text, such as the index of a model in several files",
}
"""First bytes of files that are no checkpoints, and the text that an error gives for them."""

READING_ERRORS = (
    pickle.UnpicklingError,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
)
"""Exceptions that `torch.load`, its unpickler or the safetensors reader raise for damaged files."""


def read_content(data: bytes, name: str) -> Any:
    """Returns the content of a safetensors file or a `torch.save` checkpoint, without running code.

    Args:
        data: Content of the file.
        name: Name of the file, for messages.

    Raises:
        ValueError: The file is of another kind, is damaged, or holds more than plain values.
    """
    if data[6:9] == b"\0\0{":  # a safetensors file begins with the length of its JSON header
        try:
            return dict(load_safetensors(data))
        except (SafetensorError, *READING_ERRORS) as error:
            reason = f"its safetensors content is damaged or cut short: {error}"
            raise _refused(name, reason) from error
    if reason := _other_kind(data):
        raise _refused(name, reason)
    try:
        return torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except READING_ERRORS as error:
        raise _refused(name, _why_not_unpickled(data, str(error))) from None


def fitting_state(model: nn.Module, content: Any, name: str) -> dict[str, Tensor]:
    """Returns the state dict in a file's content that fits the model, under the model's names.

    The state may be under any key, and its names may begin with the names of modules that were
    wrapped around the network. If a file has no batch norm counters (`num_batches_tracked`), as
    old files do, they are taken from `model`.

    Args:
        model: Network whose state is wanted.
        content: Content of the file, as `read_content` returns it.
        name: Name of the file, for messages.

    Raises:
        ValueError: The content holds no state dict, several different ones that fit, or none that
            fits; the message says which tensors are missing, unexpected, of another shape or type,
            or not finite.
    """
    expected: dict[str, Tensor] = model.state_dict()
    found = {path: _renamed(state, expected) for path, state in _states(content, "", set())}
    if not found:
        raise ValueError(
            f"{name} holds no state dict; it must be one, or have it under a key such as"
            f" {', '.join(KEYS)}"
        )
    fits = {path: state for path, state in found.items() if not _differences(state, expected)}
    first, *others = fits.values() or [{}]
    if not all(_equal(first, other) for other in others):
        raise ValueError(
            f"{name} holds several states of this network, under {', '.join(map(repr, fits))};"
            " save the one that is meant in a file of its own"
        )
    if not fits:
        closest = max(
            found, key=lambda path: (len(found[path].keys() & expected.keys()), len(found[path]))
        )
        listed = "; ".join(
            f"{len(names)} {kind}: {_listed(names)}"
            for kind, names in _differences(found[closest], expected).items()
        )
        raise ValueError(
            f"the weights {name}{f' under {closest!r}' if closest else ''} don't fit"
            f" {type(model).__name__} ({listed}); choose the model and the number of classes that"
            " they were trained with"
        )
    _check_finite(first, expected, name)
    return {key: first.get(key, tensor) for key, tensor in expected.items()}


def _other_kind(data: bytes) -> str:
    """Describes a file that `torch.save` can't have written; returns "" if it may have."""
    start = data[:512].lstrip().lower()
    if not data:
        return "it is empty"
    if start.startswith(b"<"):
        return "it is an HTML or XML page, such as an error or a login; download the file itself"
    for beginning, kind in BEGINNINGS.items():
        if data.startswith(beginning):
            return kind
    if not data.startswith(b"PK"):
        return ""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = archive.namelist()
    except READING_ERRORS:
        return "it is a zip archive whose end is missing or damaged; fetch it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is a TorchScript archive; save its state: torch.jit.load(…).state_dict()"
    if not any(name.endswith("/data.pkl") for name in names):
        return f"it is a zip archive of other things ({_listed(names)})"
    return ""


def _why_not_unpickled(data: bytes, said: str) -> str:
    """Returns the reason why a pickle can't be read, such as the objects in it beside tensors.

    It replaces the advice of `torch.load`, whose message is `said`.
    """
    unknown = re.findall(r"GLOBAL ([\w.]+)", said)
    if zipfile.is_zipfile(BytesIO(data)):
        with suppress(*READING_ERRORS):
            unknown = sorted(get_unsafe_globals_in_checkpoint(BytesIO(data))) or unknown
    if any(name.startswith("torch.nn.modules.") for name in unknown):
        own = [name for name in unknown if not name.startswith("torch.")] or unknown
        return (
            f"it is a whole pickled model ({_listed(own)}), and to read one runs code from the"
            " file; load it where it was made and save its state alone"
        )
    if unknown:
        return (
            f"it holds {_listed(unknown)} as well, and to read such objects can run code; load it"
            " where it was made and save the state alone"
        )
    if data[:1] == b"\x80" and data[1:2] > b"\x03":
        return "it is a pickle that torch.save did not write"
    if not data.startswith((b"PK", b"\x80")):
        return f"it begins with {data[:12]!r}"
    return "its content is damaged or cut short; fetch it again"


def _refused(name: str, reason: str) -> ValueError:
    return ValueError(
        f"{name} is neither safetensors nor a checkpoint of tensors alone: {reason}. What raykd"
        " reads is the network's state_dict, as safetensors.torch.save_file or torch.save write it"
    )


def _listed(names: list[str]) -> str:
    shown = [name if name.isprintable() else ascii(name) for name in names[:LISTED]]
    return ", ".join(shown) + (", …" if len(names) > LISTED else "")


def _states(content: Any, path: str, seen: set[int]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yields each nested mapping that has tensors: the path of keys to it, and its tensors."""
    if not isinstance(content, Mapping) or id(content) in seen:
        return
    seen.add(id(content))  # a mapping may hold itself
    if tensors := {k: v for k, v in content.items() if isinstance(k, str) and _is_plain(v)}:
        yield path, tensors
    for key, value in content.items():
        if isinstance(key, str):
            yield from _states(value, f"{path}.{key}" if path else key, seen)


def _is_plain(value: Any) -> bool:
    """Returns True for a dense, unquantised tensor that holds its values (not on `meta`)."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized)
    )


def _renamed(state: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Removes parts of names that wrappers added, where more names then match the model's.

    Tried are the parts in `WRAPPERS`, at any place, and a first part that all names share.
    """
    best = state
    while True:
        for parts in ({name: _unwrapped(name) for name in state}, _without_first(state)):
            bare = {parts[name]: tensor for name, tensor in state.items()} if parts else {}
            common = len(bare.keys() & expected.keys())
            if len(bare) == len(state) and common > len(best.keys() & expected.keys()):
                best = bare
        if not (parts := _without_first(state)):
            return best
        state = {parts[name]: tensor for name, tensor in state.items()}


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _without_first(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns each name without its first part, by name; {} if not all share that part."""
    if len({name.partition(".")[0] for name in state}) != 1:
        return {}
    shorter = {name: name.partition(".")[2] for name in state}
    return shorter if all(shorter.values()) else {}


def _differences(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, list[str]]:
    """Returns the differences between a state and the expected one, by kind; {} if it fits."""
    both = [(key, state[key], tensor) for key, tensor in expected.items() if key in state]
    uncounted = {key for key in expected if key.endswith("num_batches_tracked")}
    lacks = [key for key in expected if key not in state]
    differences = {
        "missing": [key for key in lacks if key not in uncounted or uncounted - set(lacks)],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} is {tuple(got.shape)} and should be {tuple(wanted.shape)}"
            for key, got, wanted in both
            if got.shape != wanted.shape
        ],
        "of another type": [
            f"{key} is {got.dtype} and should be {wanted.dtype}".replace("torch.", "")
            for key, got, wanted in both
            if got.is_floating_point() != wanted.is_floating_point() or got.is_complex()
        ],
    }
    return {kind: names for kind, names in differences.items() if names}


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _check_finite(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    wrong = [
        key
        for key, tensor in state.items()
        if tensor.is_floating_point()
        and not tensor.to(expected[key].dtype).isfinite().all()
        and expected[key].isfinite().all()  # a mask may be infinite by design
    ]
    if wrong:
        raise ValueError(
            f"the weights {name} have values that are not finite (NaN or infinite), in"
            f" {len(wrong)} tensors: {_listed(wrong)}; their"
            " training diverged, or the file is damaged: take an earlier checkpoint"
        )
