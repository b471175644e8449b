"""A student out of the store: rebuilt, evaluated again, exported with a card of its making."""

import hashlib
import json
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from raykd.data import Data
from raykd.export.model_card import card
from raykd.models.weights import load_weights
from raykd.store import Trial, open_store
from raykd.train.component import locate
from raykd.train.evaluate import evaluate
from raykd.train.recipe import Recipe
from raykd.train.restore import UNMAKEABLE, Restored, no_larger_than, restore

FILES = {"safetensors": "model.safetensors", "onnx": "model.onnx", "torch": "model.pt2"}
"""What each format is called."""
_LARGEST_BATCH = 2**28
"""Numbers in a batch of images: a store's sizes must not fill this machine."""


@dataclass(frozen=True)
class StoredStudent:
    """A trial with its network.

    Attributes:
        trial: As the store has it.
        spec: What `study.json` says of its study.
        teacher: The teacher's trial, if it is known.
        make: Made the network before it had its weights: `function` and `arguments`.
        model: The student after its last epoch, in eval mode, on the CPU.
        weights: The bytes of the checkpoint.
    """

    trial: Trial
    spec: dict[str, Any]
    teacher: Trial | None
    make: dict[str, Any]
    model: nn.Module
    weights: bytes


def take(root: str, study: str, trial: str | None = None, *, student: str = "") -> StoredStudent:
    """Returns a trial's student after its last epoch; the best trial's by default.

    Args:
        root: The store, a folder or `s3://bucket/prefix`.
        study: Its name there.
        trial: Its name.
        student: `module:function` that makes the network, where raykd's own does not.

    Raises:
        ValueError: There is no such trial, it has no checkpoint, or its network can't be made.
    """
    store = open_store(root)
    stored = store.study(study)
    if trial is None and not (best := stored.best()):
        raise ValueError(f"study {study!r} has no complete trial yet; name one with --trial")
    chosen = stored.trial(trial) if trial is not None else best[0]
    if not chosen.checkpoint:
        raise ValueError(
            f"trial {chosen.id} has no checkpoint (its state is {chosen.state}); take one that"
            " has ended"
        )
    _check(stored.spec, study)
    restored = restore(stored.spec["made_by"].get("student"), "student", student)
    weights = store.folder.read(chosen.checkpoint)
    model = _network(restored, weights, chosen.checkpoint)
    known = stored.trials()["trial"].to_pylist()
    teacher = stored.trial("teacher") if "teacher" in known else None
    made_by = locate(restored.make)
    made_by["function"] = student or made_by["function"]
    return StoredStudent(chosen, stored.spec, teacher, made_by, model.eval(), weights)


def _check(spec: dict[str, Any], study: str) -> None:
    """Checks what a store says of a study, as far as it is used here."""
    described = ("data", "teacher", "student", "method", "recipe", "versions")
    if lacking := [name for name in described if name not in spec]:
        raise ValueError(
            f"study {study!r} does not say its {', '.join(lacking)}; load its checkpoint in a"
            " script of your own"
        )
    if "made_by" not in spec:
        raise ValueError(f"study {study!r} does not say what made its students; give --student")
    shape, batch = spec.get("data", {}).get("shape"), spec.get("batch_size")
    sizes = [batch, *shape] if isinstance(shape, list) else []
    if len(sizes) != 4 or not all(type(size) is int and size >= 1 for size in sizes):
        raise ValueError(f"study {study!r} has batches of {batch!r} images of shape {shape!r}")
    if math.prod(sizes) > _LARGEST_BATCH:
        raise ValueError(
            f"study {study!r} has batches of {batch} images of shape {shape}, more than"
            f" {_LARGEST_BATCH} numbers; load its checkpoint in a script of your own"
        )
    if type(spec.get("seed")) is not int or spec.get("recipe", {}).get("precision", 0) == 0:
        raise ValueError(f"study {study!r} does not say its seed or its precision")


def _network(restored: Restored, weights: bytes, name: str) -> nn.Module:
    """Makes a student of the bytes of its checkpoint, which is safetensors and nothing else."""
    try:
        tensors = load(weights)
    except SafetensorError as error:
        raise ValueError(f"the checkpoint {name} is damaged: no safetensors ({error})") from error
    try:
        with no_larger_than(tensors.values()):
            model = restored.make()
    except UNMAKEABLE as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"the student can't be made as the store says ({type(error).__name__}: {reason}); give"
            " --student module:function, a function that can be imported from here"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"what makes the student returned a {type(model).__name__}, no module")
    load_weights(model, weights)
    return model


def evaluate_student(
    taken: StoredStudent, *, data: str = "", data_root: str | None = None, device: str | None = None
) -> dict[str, float]:
    """Returns the metrics of the validation and test split, as the last epoch had them.

    Args:
        taken: Whose.
        data: `module:class` of the data, where it is not one of raykd's own.
        data_root: The data's folder, where it is not the one of the study.
        device: By default a GPU if there is one.

    Raises:
        ValueError: The data are missing, or not those of the study.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    opened = _open(taken, data, data_root, device)
    recipe = Recipe(epochs=1, precision=taken.spec["recipe"]["precision"])
    model = taken.model.to(device)
    if "cuda" in device:
        model = model.to(memory_format=torch.channels_last)
    metrics: dict[str, float] = {}
    for split, batches in (("val", opened.validation()), ("test", opened.test())):
        [values] = evaluate([model], batches, autocast=recipe.autocast(torch.device(device)))
        metrics |= {f"{split}_{name}": value for name, value in values.items()}
    return metrics


def export(taken: StoredStudent, format: str, folder: str | Path) -> Path:
    """Writes a student and its card into a new folder; returns the path of the student.

    Args:
        taken: Whom.
        format: `safetensors`: the weights; `onnx`, or `torch` for an archive of `torch.export`:
            a program from images to logits for any batch size.
        folder: Must be empty, or not there yet.

    Raises:
        ValueError: The format is unknown or lacks its packages, or the folder is not empty.
    """
    if format not in FILES:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(FILES)}")
    lacking = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if format == "onnx" and lacking:
        raise ValueError(f"ONNX needs {' and '.join(lacking)}; run: pip install 'raykd[export]'")
    folder = Path(folder).expanduser()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} is there and not empty; choose another folder with --output")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILES[format]
    if format == "safetensors":
        file.write_bytes(taken.weights)
    else:
        _write_program(taken, format, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    text = card(taken.trial, taken.spec, taken.teacher, taken.make, file.name, sha256)
    (folder / "README.md").write_text(text)
    return file


class Classifier(nn.Module):
    """A raykd model that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Returns the logits of normalised images."""
        logits: Tensor = self.model(image).logits
        return logits


def _write_program(taken: StoredStudent, format: str, file: Path) -> None:
    example = torch.zeros(2, *taken.spec["data"]["shape"])
    module = Classifier(taken.model.cpu()).eval().requires_grad_(False)
    batch = ({0: torch.export.Dim("batch", min=1)},)
    if format == "torch":
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=batch), file)
        return
    torch.onnx.export(
        module,
        (example,),
        file,
        dynamo=True,
        dynamic_shapes=batch,
        input_names=["image"],
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )


def _open(taken: StoredStudent, data: str, data_root: str | None, device: str) -> Data:
    given = {} if data_root is None else {"root": data_root}
    restored = restore(taken.spec["made_by"].get("data"), "data", data, given)
    if given and not restored.taken:
        raise ValueError("the study's data have no folder; leave --data-root out")
    if not given and "root" in restored.left_out:
        raise ValueError("the study's data are in a folder; give --data-root, which a store can't")
    settings: dict[str, Any] = {"batch_size": taken.spec["batch_size"], "seed": taken.spec["seed"]}
    left = ", ".join(sorted({*restored.left_out} - given.keys()))
    advice = f" (left out, as a store may not set it: {left})" if left else ""
    try:
        opened: Data = restored.make(**settings, device=device)
    except UNMAKEABLE as error:
        raise ValueError(f"the study's data can't be opened{advice}: {error}") from error
    found, expected = json.loads(json.dumps(opened.describe())), taken.spec["data"]
    if differing := sorted(key for key in expected if found.get(key) != expected[key]):
        raise ValueError(
            f"these are not the data of the study: they differ in {', '.join(differing)}{advice};"
            " give --data-root the folder that it was made with, or --data module:function"
        )
    return opened
