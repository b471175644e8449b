"""Writes the model card of an exported student: its accuracy, its use and how it was made.

Texts from the store are escaped, so that none is interpreted as Markdown, HTML or code.
"""

import re
from typing import Any

from raykd.printable import printable
from raykd.store import Trial


def card(
    trial: Trial,
    spec: dict[str, Any],
    teacher: Trial | None,
    make: dict[str, Any],
    file: str,
    sha256: str,
) -> str:
    """Returns the model card as Markdown.

    Args:
        trial: Trial of the student.
        spec: Specification of its study, the content of `study.json`.
        teacher: Trial of the teacher; None if unknown.
        make: `function` and `arguments` that create the network, as returned by
            `raykd.train.component.locate`.
        file: Name of the exported file beside the card.
        sha256: SHA-256 digest of that file in hexadecimal.
    """
    student, master = spec["student"].get("name"), spec["teacher"].get("model", {}).get("name")
    parts = [
        "---\nlibrary_name: raykd\ntags:\n- image-classification\n- knowledge-distillation\n---",
        f"# {_text(student)}, taught by {_text(master)} with {_text(trial.method)}",
        f"Trial {_text(trial.id)} of the study {_span(spec['name'])}, after epoch {trial.epoch},"
        f" {_ending(trial)}."
        f" {trial.params or 0:,} parameters.\n`{file}` has SHA-256 `{sha256}`.",
        "## What it can do",
        _accuracy(trial, teacher),
        "Accuracies are shares of the samples, the loss is cross-entropy in nats. The study chose"
        " by the validation split, which is a part of the training set, and never by the test set.",
        "## How to use it",
        _use(spec["data"], make, file),
        "## How it was made",
        _rows("", _made(trial, spec)),
        f"### Hyperparameters of {_text(trial.method)}",
        _rows("Those that are not named have the defaults of that version.", _config(trial, spec)),
        "### Recipe",
        _rows("", {**spec["recipe"], "batch_size": spec["batch_size"]}),
        "### Data",
        _rows("", spec["data"]),
        "### Teacher",
        _rows("", spec["teacher"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _ending(trial: Trial) -> str:
    if trial.state == "COMPLETE":
        return "the last one"
    return f"where it ended as {trial.state} ({_text(trial.reason)}): it is no result of the study"


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
            f": bytes over 255, minus the mean {_span(data['mean'])}, over the deviation"
            f" {_span(data.get('std'))}, channel by channel"
        )
    name, arguments = make["function"].partition(":")[2], _arguments(make)
    imports = "\n".join(dict.fromkeys(_imports(make)))
    code = {
        "model.safetensors": f"{imports}\n"
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


def _imports(make: dict[str, Any]) -> list[str]:
    """Returns the import lines of a factory and of the factories among its arguments."""
    module, _, name = make["function"].partition(":")
    nested = [value for value in make["arguments"].values() if isinstance(value, dict)]
    others = [line for value in nested for line in _imports(value)]
    return [f"from {module} import {name.partition('.')[0]}", *others]


def _arguments(make: dict[str, Any]) -> str:
    """Returns the keyword arguments of a factory as Python code; their values are plain."""
    return ", ".join(f"{name}={_code(value)}" for name, value in make["arguments"].items())


def _code(value: Any) -> str:
    if isinstance(value, dict):
        name, inner = value["function"].partition(":")[2], _arguments(value)
        return f"partial({name}, {inner})" if inner else name
    return ascii(tuple(value) if isinstance(value, list) else value)


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
    lines = [f"| {_text(name)} | {_cell(value)} |" for name, value in values.items()]
    table = "\n".join(["| | |", "| --- | --- |", *lines]) if lines else ""
    return "\n\n".join(part for part in (sentence, table) if part)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_text(name)} {_cell(item)}" for name, item in value.items())
    return "" if value == "" else _span(value)


def _text(value: Any) -> str:
    """Returns a text of the store as one line, with the punctuation of Markdown escaped."""
    line = " ".join(printable(str(value)).split())
    return re.sub(r"[\\`*\[\]<>|~&$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)


def _span(value: Any) -> str:
    """Returns a value of the store as a one-line code span, fenced by enough backticks."""
    line = " ".join(printable(str(value)).split()).replace("|", r"\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"
