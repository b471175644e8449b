"""The model card of an exported student: what it is, what it can do and how it was made."""

from typing import Any

from raykd.store import Trial


def card(
    trial: Trial,
    spec: dict[str, Any],
    teacher: Trial | None,
    make: dict[str, Any],
    file: str,
    sha256: str,
) -> str:
    """Returns the card as Markdown.

    Args:
        trial: The student's.
        spec: What `study.json` says of its study.
        teacher: The teacher's trial, if it is known.
        make: What makes the network, as `raykd.train.describe.locate` says.
        file: Name of the exported file beside the card.
        sha256: Of that file.
    """
    student, master = spec["student"]["name"], spec["teacher"]["model"]["name"]
    parts = [
        "---\nlibrary_name: raykd\ntags:\n- image-classification\n- knowledge-distillation\n---",
        f"# {student}, taught by {master} with {trial.method}",
        f"Trial {trial.id} of the study `{spec['name']}`, after epoch {trial.epoch}, the last one."
        f" {trial.params or 0:,} parameters.\n`{file}` has SHA-256 `{sha256}`.",
        "## What it can do",
        _accuracy(trial, teacher),
        "Accuracies are shares of the samples, the loss is cross-entropy in nats. The study chose"
        " by the validation split, which is a part of the training set, and never by the test set.",
        "## How to use it",
        _use(spec["data"], make, file),
        "## How it was made",
        _rows("", _made(trial, spec)),
        f"### Hyperparameters of {trial.method}",
        _rows("Those that are not named have the defaults of that version.", _config(trial, spec)),
        "### Recipe",
        _rows("", {**spec["recipe"], "batch_size": spec["batch_size"]}),
        "### Data",
        _rows("", spec["data"]),
        "### Teacher",
        _rows("", spec["teacher"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _accuracy(trial: Trial, teacher: Trial | None) -> str:
    lines = ["| | validation | test |", "| --- | --- | --- |"]
    for who, metrics in (("", trial.metrics), ("teacher's ", teacher.metrics if teacher else {})):
        for name in ("top1", "top5", "loss"):
            if f"test_{name}" in metrics:
                values = metrics[f"val_{name}"], metrics[f"test_{name}"]
                lines.append(f"| {who}{name} | " + " | ".join(f"{v:.4f}" for v in values) + " |")
    return "\n".join(lines)


def _use(data: dict[str, Any], make: dict[str, Any], file: str) -> str:
    shape = " x ".join(map(str, data["shape"]))
    seen = f"Images are {shape} floats"
    if "mean" in data:
        seen += (
            f": bytes over 255, minus the mean {data['mean']}, over the deviation {data['std']},"
            " channel by channel"
        )
    made = make["arguments"].items()
    arguments = ", ".join(f"{name}={_code(value)}" for name, value in made)
    module, _, name = make["function"].partition(":")
    code = {
        "model.safetensors": f"from {module} import {name.partition('.')[0]}\n"
        "from raykd.models.weights import load_weights\n\n"
        f"model = {name}({arguments})\n"
        f'load_weights(model, "{file}")\n'
        "logits = model.eval()(images).logits",
        "model.onnx": "import onnxruntime\n\n"
        f'session = onnxruntime.InferenceSession("{file}")\n'
        '[logits] = session.run(["logits"], {"image": images})',
        "model.pt2": "import torch\n\n"
        f'model = torch.export.load("{file}").module()\n'
        "logits = model(images)",
    }[file]
    return f"{seen}.\n\n```python\n{code}\n```"


def _code(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("function", value)).replace(":", ".")
    return repr(tuple(value) if isinstance(value, list) else value)


def _made(trial: Trial, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "role": trial.role,
        "seed": trial.seed,
        "command": spec.get("command", ""),
        "commit": spec.get("commit", ""),
        "begun": spec.get("time", ""),
        **{f"{name} (version)": number for name, number in spec.get("versions", {}).items()},
    }


def _config(trial: Trial, spec: dict[str, Any]) -> dict[str, Any]:
    bound = {} if trial.role == "reference" else spec["method"]
    return {
        **{name: value for name, value in bound.items() if name not in ("module", "name")},
        **trial.config,
    }


def _rows(sentence: str, values: dict[str, Any]) -> str:
    lines = [f"| {name} | {_cell(value)} |" for name, value in values.items()]
    table = "\n".join(["| | |", "| --- | --- |", *lines]) if lines else ""
    return "\n\n".join(part for part in (sentence, table) if part)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    return "" if value == "" else f"`{value}`"
