"""`study.json`: what a study is; written once, and what must not change is compared."""

from typing import Any

from raykd.store.errors import MissingObjectError, StoreError
from raykd.store.folder import Folder
from raykd.store.records import LAYOUT, from_json, plain, to_json

Spec = dict[str, Any]

_PATH = "study.json"


def load_spec(folder: Folder) -> Spec | None:
    """Reads a study's specification; None if there is no such study.

    Raises:
        StoreError: It is damaged, or a later version of raykd wrote it.
    """
    try:
        spec = from_json(folder.read(_PATH))
    except MissingObjectError:
        return None
    except StoreError as error:
        raise StoreError(f"cannot read {folder.uri}/{_PATH}: {error}") from error
    if not isinstance(spec, dict) or "metric" not in spec:
        raise StoreError(f"{folder.uri}/{_PATH} is no study of raykd")
    if spec.get("layout", LAYOUT) > LAYOUT:
        raise StoreError(f"{folder.uri} was written by a later raykd; update this one")
    return spec


def settle_spec(folder: Folder, spec: Spec) -> Spec:
    """Writes a study's specification, or compares its identity with what is there already.

    Returns:
        The specification as stored.

    Raises:
        StoreError: A study of this name is there with another identity; names what differs.
    """
    metric, mode = spec.get("metric"), spec.get("mode")
    if not (isinstance(metric, list | tuple) and isinstance(mode, list | tuple)) or (
        not metric or len(metric) != len(mode) or not {*mode} <= {"max", "min"}
    ):
        raise StoreError(
            f"metric is {metric!r} and mode {mode!r}; give lists of the same length, the modes"
            " 'max' or 'min'"
        )
    new: Spec = from_json(to_json({**spec, "layout": LAYOUT}))
    stored = load_spec(folder)
    if stored is None:
        folder.write(_PATH, to_json(new, indent=1).encode(), if_absent=True)
        stored = load_spec(folder) or new
    differences = _differences(stored.get("identity", {}), new.get("identity", {}), "")
    if differences:
        raise StoreError(
            f"{folder.uri} holds a study of this name that differs: {'; '.join(differences)}."
            " Choose another name or another storage"
        )
    return stored


def objective(spec: Spec) -> tuple[str, str]:
    """Returns the first objective that epochs report, and its mode.

    Raises:
        StoreError: All objectives are properties of a whole trial.
    """
    for metric, mode in zip(spec["metric"], spec["mode"], strict=True):
        if metric != "params" and not metric.startswith("cost_"):
            return metric, mode
    raise StoreError(f"metric is {spec['metric']!r}; one of them must be reported by epochs")


def _differences(stored: Any, asked: Any, name: str) -> list[str]:
    """Lists the entries that differ, nested ones as `space.alpha`."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        return [
            line
            for key in sorted({*stored, *asked})
            for line in _differences(stored.get(key), asked.get(key), f"{name}.{key}".lstrip("."))
        ]
    if stored == asked or to_json(stored) == to_json(asked):  # 1 is 1.0, and NaN is NaN
        return []
    return [f"{name} is {_shown(stored)} there and {_shown(asked)} here"]


def _shown(value: Any) -> str:
    return "absent" if value is None else str(plain(value))
