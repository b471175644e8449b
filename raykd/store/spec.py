"""Reads and writes `study.json`, the specification of a study.

It is written once. When the study is continued, the fields that must not change are compared.
"""

import math
from typing import Any

from raykd.store.errors import DamagedObjectError, MissingObjectError, StoreError
from raykd.store.folder import Folder
from raykd.store.names import is_label
from raykd.store.records import LAYOUT, from_json, plain, to_json

Spec = dict[str, Any]

_PATH = "study.json"
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("metric", "mode", "references", "first"), (list,)),
    **dict.fromkeys(("identity", "space", "data", "teacher", "student", "method"), (dict,)),
    **dict.fromkeys(("recipe", "made_by", "versions", "hardware"), (dict,)),
    **dict.fromkeys(("layout", "batch_size", "seed", "seeds"), (int,)),
    **dict.fromkeys(("trials", "cohort", "epochs"), (int,)),
    **dict.fromkeys(("name", "method_name", "sampler", "command"), (str,)),
    **dict.fromkeys(("commit", "host", "time"), (str, type(None))),
    "halving": (dict, type(None)),
}
"""Types of the fields of `study.json`; readers rely on them. Every field may be absent."""
_RANGE = {"low", "high", "step", "log"}
_LARGEST = 10**300  # bound of the magnitude of a number in the space, so that a float can hold it


def load_spec(folder: Folder) -> Spec | None:
    """Reads and validates a study's specification; returns None if there is no study.

    Raises:
        StoreError: The specification is damaged, or a later version of raykd wrote it.
    """
    try:
        spec = from_json(folder.read(_PATH))
    except MissingObjectError:
        return None
    except DamagedObjectError as error:
        raise StoreError(f"cannot read {folder.uri}/{_PATH}: {error}") from error
    if not isinstance(spec, dict) or "metric" not in spec:
        raise StoreError(f"{folder.uri}/{_PATH} is no study of raykd")
    layout = spec.get("layout", LAYOUT)
    if isinstance(layout, int) and layout > LAYOUT:
        raise StoreError(f"{folder.uri} was written by a later raykd; update this one")
    try:
        _check(spec)
    except StoreError as error:
        short = DamagedObjectError(str(error))
        raise StoreError(f"{folder.uri}/{_PATH} is no study of raykd: {short}") from error
    return spec


def _check(spec: Spec) -> None:
    """Validates the fields that readers use."""
    for name, types in _TYPES.items():
        if name in spec and (not isinstance(spec[name], types) or isinstance(spec[name], bool)):
            raise DamagedObjectError(f"its {name} is {spec[name]!r}")
    _check_objectives(spec)
    models = [spec.get("teacher", {}).get("model", {}), *spec.get("references", [])]
    for described in (*models, spec.get("student", {}), spec.get("method", {})):
        if not isinstance(described, dict) or not isinstance(described.get("name", ""), str):
            raise DamagedObjectError(f"{described!r} describes no function")
    gpus = spec.get("hardware", {}).get("gpus", [])
    if not isinstance(gpus, list):
        raise DamagedObjectError(f"its GPUs are {gpus!r}")
    if bad := [item for item in spec.get("first", []) if not isinstance(item, dict)]:
        raise DamagedObjectError(f"{bad[0]!r} in first is no setting")
    for name, text in spec.get("space", {}).items():
        if not is_label(name) or not isinstance(text, str) or not _is_distribution(from_json(text)):
            raise DamagedObjectError(f"{text!r} is no distribution of {name!r}")


def _check_objectives(spec: Spec) -> None:
    metric, mode = spec.get("metric"), spec.get("mode")
    if not (isinstance(metric, list | tuple) and isinstance(mode, list | tuple)) or (
        not metric
        or len(metric) != len(mode)
        or not all(item in ("max", "min") for item in mode)
        or not all(map(is_label, metric))
    ):
        raise StoreError(
            f"metric is {metric!r} and mode {mode!r}; give lists of the same length, the modes"
            " 'max' or 'min'"
        )


def _is_distribution(item: Any) -> bool:
    """Returns True for the JSON of a valid float, integer or categorical distribution of Optuna.

    Optuna itself is not asked, because its import takes a second.
    """
    if not isinstance(item, dict) or not isinstance(item.get("attributes"), dict):
        return False
    name, has = item.get("name"), item["attributes"]
    if name == "CategoricalDistribution":
        choices = has.get("choices")
        plain = isinstance(choices, list) and all(map(_is_choice, choices))
        return has.keys() == {"choices"} and plain and bool(choices)
    kinds = (int,) if name == "IntDistribution" else (int, float)
    low, high, step, log = (has.get(key) for key in ("low", "high", "step", "log"))
    known = name in ("FloatDistribution", "IntDistribution") and has.keys() <= _RANGE
    if not (known and all(_is_number(end, kinds) for end in (low, high))):
        return False
    stepped = step is None or (_is_number(step, kinds) and step > 0)
    logarithmic = not log or (log is True and low > 0 and step in (None, 1))
    return bool(low <= high and stepped and logarithmic)


def _is_choice(item: Any) -> bool:
    return item is None or isinstance(item, bool | str) or _is_number(item, (int, float))


def _is_number(item: Any, kinds: tuple[type, ...]) -> bool:
    """Returns True for a finite number of one of the given types that a float can hold."""
    return type(item) in kinds and abs(item) < _LARGEST and math.isfinite(item)


def settle_spec(folder: Folder, spec: Spec) -> Spec:
    """Writes a study's specification, or compares its identity with the stored one.

    Returns:
        The specification as stored.

    Raises:
        StoreError: The stored study has another identity (the message names the differences), was
            written by another version of the layout, or is damaged; or `spec` has invalid
            objectives.
    """
    _check_objectives(spec)
    new: Spec = from_json(to_json({**spec, "layout": LAYOUT}))
    stored = load_spec(folder)
    if stored is None:
        folder.write(_PATH, to_json(new, indent=1).encode(), if_absent=True)
        stored = load_spec(folder) or new
    if (layout := stored.get("layout", 1)) < LAYOUT:
        raise StoreError(
            f"{folder.uri} was written by an earlier version of raykd (layout {layout}, now"
            f" {LAYOUT}): it can be queried, shown and exported, but not continued. Choose another"
            " name or another storage"
        )
    differences = _differences(stored.get("identity", {}), new.get("identity", {}), "")
    if differences:
        raise StoreError(
            f"{folder.uri} holds a study of this name that differs: {'; '.join(differences)}."
            " Choose another name or another storage"
        )
    return stored


def objective(spec: Spec) -> tuple[str, str]:
    """Returns the name and mode of the first objective that is reported after each epoch.

    Raises:
        StoreError: All objectives (`params`, `cost_<name>`) are properties of a whole trial.
    """
    for metric, mode in zip(spec["metric"], spec["mode"], strict=True):
        if metric != "params" and not metric.startswith("cost_"):
            return metric, mode
    raise StoreError(f"metric is {spec['metric']!r}; one of them must be reported by epochs")


def _differences(stored: Any, asked: Any, name: str) -> list[str]:
    """Returns one phrase per differing entry; nested entries are named like `space.alpha`."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        return [
            line
            for key in sorted({*stored, *asked})
            for line in _differences(stored.get(key), asked.get(key), f"{name}.{key}".lstrip("."))
        ]
    if stored == asked or to_json(stored) == to_json(asked):  # 1 equals 1.0, and NaN equals NaN
        return []
    return [f"{name} is {_shown(stored)} there and {_shown(asked)} here"]


def _shown(value: Any) -> str:
    return "absent" if value is None else str(plain(value))
