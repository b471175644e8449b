"""Builds the section of the HTML page that says how a study was made."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from raykd.report import formatting, html
from raykd.report.results import Results


def origin(results: Results) -> str:
    """Returns the section with command, versions, hardware, data, models and protocol."""
    spec = results.spec
    seconds = sum(t.cost.get("seconds", 0.0) for c in results.contenders for t in c.trials)
    hardware = spec.get("hardware", {})
    machine = [hardware.get("processor"), *hardware.get("gpus", []), spec.get("host")]
    batch, epochs, seeds = spec.get("batch_size"), spec.get("epochs"), spec.get("seeds", 1)
    facts = {
        "command": spec.get("command"),
        "first started": spec.get("time"),
        "commit": spec.get("commit"),
        "versions": _pairs(spec.get("versions", {}), " "),
        "hardware": ", ".join(str(part) for part in machine if part),
        "training time": f"{formatting.duration(seconds)}, summed over trials" if seconds else "",
        "seed": spec.get("seed", ""),
        "replicates": f"{seeds} of each trial, with seeds of their own" if seeds > 1 else "",
        "data": _pairs(spec.get("data", {})),
        "teacher": _pairs(spec.get("teacher", {})),
        "student": _pairs(spec.get("student", {})),
        "method": _pairs(spec.get("method", {})),
        "references": "; ".join(_pairs(item) for item in spec.get("references", [])),
        "training": ", ".join(
            filter(
                None, [epochs and formatting.counted(epochs, "epoch"), batch and f"batch {batch}"]
            )
        ),
        "recipe": _pairs(spec.get("recipe", {})),
        "search space": "; ".join(_range(*item) for item in spec.get("space", {}).items()),
        "sampler": spec.get("sampler"),
        "halving": _pairs(spec.get("halving") or {}) or "none",
        "cohort": spec.get("cohort") and f"{spec['cohort']} trials side by side",
        "stored in": results.study.folder.uri,
    }
    listed = "".join(
        f"<dt>{name}</dt><dd><code>{escape(str(fact))}</code></dd>"
        for name, fact in facts.items()
        if fact not in ("", None)
    )
    protocol = "".join(f"<li>{line}</li>" for line in _protocol(results))
    return html.section("How this was made", f"<dl>{listed}</dl><ul>{protocol}</ul>")


def _protocol(results: Results) -> list[str]:
    lines = [
        f"The objective is {escape(' and '.join(map(formatting.title, results.objectives)))}."
        " The validation split is taken from the training set; the test set is evaluated for the"
        " record and never chosen by.",
        "Comparisons use the last epoch; the best epoch stands beside it.",
        "The teacher is frozen and in evaluation mode. All trials see the same stream of batches.",
    ]
    if results.spec.get("seeds", 1) > 1:
        lines.append("With several seeds, values are means ± standard deviations over them.")
    return lines


def _range(name: str, distribution: str) -> str:
    """Describes the search range of a hyperparameter in words.

    Args:
        name: Name of the hyperparameter.
        distribution: Its distribution as JSON of Optuna.
    """
    attributes = json.loads(distribution)["attributes"]
    if "choices" in attributes:
        return f"{name} in {', '.join(map(formatting.setting, attributes['choices']))}"
    log = ", logarithmic" if attributes.get("log") else ""
    return f"{name} from {attributes['low']:g} to {attributes['high']:g}{log}"


def _pairs(item: Mapping[str, Any], equals: str = " = ") -> str:
    """Formats a description in one line: the name first, nested descriptions in brackets."""
    parts = [str(item["name"])] if "name" in item else []
    for key, value in item.items():
        if key != "name" and value is not None and value != []:
            text = f"({_pairs(value)})" if isinstance(value, dict) else str(value)
            parts.append(f"{key}{equals}{text}")
    return ", ".join(parts)
