"""Formats metrics, hyperparameters and durations for people."""

import math
from collections.abc import Mapping
from typing import Any

_SPLITS = {"val_": "validation ", "test_": "test ", "train_": "training "}
_NAMES = {"top1": "accuracy", "top5": "top-5 accuracy", "params": "parameters"}
_SHARES = ("top1", "top5")  # endings of metrics that lie in [0, 1] and are shown in per cent
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "unfinished"}


def title(metric: str) -> str:
    """Returns a metric's name in words: `val_top1` becomes "validation accuracy"."""
    for prefix, split in _SPLITS.items():
        if metric.startswith(prefix):
            name = metric.removeprefix(prefix)
            return split + _NAMES.get(name, name)
    return _NAMES.get(metric, metric)


def on_test(metric: str) -> str | None:
    """Returns the test metric that corresponds to a validation metric; None for other metrics."""
    return "test_" + metric.removeprefix("val_") if metric.startswith("val_") else None


def is_share(metric: str) -> bool:
    """Returns True if a metric lies in [0, 1] and is shown in per cent."""
    return metric.endswith(_SHARES)


def value(metric: str, mean: float, std: float | None = None) -> str:
    """Formats a metric's value, and its standard deviation if given; "" if it is not finite."""
    if not math.isfinite(mean):
        return ""
    if metric == "params" and mean.is_integer():
        return f"{int(mean):,}"
    if is_share(metric):
        spread = "" if std is None else f" ± {100 * std:.2f}"
        return f"{100 * mean:.2f}{spread}%"
    return f"{mean:.4g}" if std is None else f"{mean:.4g} ± {std:.2g}"


def gain(metric: str, difference: float) -> str:
    """Formats a signed difference, for shares in percentage points; "" if it is not finite."""
    if not math.isfinite(difference):
        return ""
    if is_share(metric):
        return f"{100 * difference:+.2f}"
    return f"{difference:+.3g}"


def setting(item: Any) -> str:
    """Formats a hyperparameter's value; floats have four significant digits."""
    if isinstance(item, float):
        return f"{item:.4g}"
    return item if isinstance(item, str) else repr(item)


def settings(config: Mapping[str, Any]) -> str:
    """Formats a configuration as one line of `name = value` pairs, sorted by name."""
    return ", ".join(f"{name} = {setting(item)}" for name, item in sorted(config.items()))


def duration(seconds: float) -> str:
    """Formats a duration in seconds as hours and minutes, minutes and seconds, or seconds."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def counted(number: int, noun: str) -> str:
    """Formats a number with its noun: `1 trial`, `2 trials`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
