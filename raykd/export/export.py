"""Rebuilds a student from a store, evaluates it again, and exports it with a model card."""

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
"""Name of the exported file by format."""
_LARGEST_BATCH = 2**28
"""Maximum number of values in a batch of images, so that sizes in a store can't fill the memory."""


@dataclass(frozen=True)
class StoredStudent:
    """A stored trial with its network.

    Attributes:
        trial: Trial as stored.
        spec: Specification of its study, the content of `study.json`.
        teacher: Trial of the teacher; None if unknown.
        make: `function` and `arguments` of the call that creates the network without its weights.
        model: Student after its last epoch, in eval mode; on the CPU until it is evaluated.
        weights: Bytes of the checkpoint, a safetensors file.
    """

    trial: Trial
    spec: dict[str, Any]
    teacher: Trial | None
    make: dict[str, Any]
    model: nn.Module
    weights: bytes


def take(root: str, study: str, trial: str | None = None, *, student: str = "") -> StoredStudent:
    """Returns a trial's student with its weights after the last epoch.

    Args:
        root: Address of the store, a folder or `s3://bucket/prefix`.
        study: Name of the study.
        trial: Name of the trial; by default the best one.
        student: `module:function` that creates the network, if it is not one of raykd's.

    Raises:
        ValueError: The trial does not exist or has no checkpoint, the specification of the study
            lacks something, or the network can't be created.
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
    """Checks the fields of a study's specification that evaluation and export use."""
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
    """Creates a student and loads the bytes of its checkpoint, which must be safetensors."""
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
    """Evaluates a student on the validation and test splits, in the precision of its study.

    Args:
        taken: Student to evaluate; its model is moved to the device.
        data: `module:class` of the data, if they are not one of raykd's.
        data_root: Folder of the data, if they have one.
        device: Device of torch; by default the GPU if there is one, else the CPU.

    Returns:
        Metrics by name with the prefix of the split, such as `val_top1` and `test_loss`.

    Raises:
        ValueError: The data are missing, or differ from those of the study.
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
    """Writes a student and its model card into a folder.

    Args:
        taken: Student to export.
        format: `safetensors` for the weights alone, or `onnx` or `torch` (an archive of
            `torch.export`) for a program that maps images to logits for any batch size.
        folder: Folder for both files, which must be empty or not exist yet.

    Returns:
        The path of the exported file; the card is `README.md` beside it.

    Raises:
        ValueError: The format is unknown, its packages are not installed, or the folder is not
            empty.
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
    """Wraps a raykd model so that it returns only its logits.

    Args:
        model: Model whose output has an attribute `logits`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Returns the logits (B, K) of normalised images (B, C, H, W)."""
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
