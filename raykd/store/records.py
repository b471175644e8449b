"""Records that a writer appends to a study, of three kinds: a trial's start, report and end."""

import hashlib
import json
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from raykd.store.errors import DamagedObjectError, StoreError
from raykd.store.names import is_label, is_name, is_path

Record = dict[str, Any]

LAYOUT = 2  # version of the layout of a study's folder; a reader refuses later versions

ROLES = ("search", "first", "reference", "teacher")
STATES = ("COMPLETE", "PRUNED", "FAIL")
_DEEPEST = 50  # maximum nesting of lists and dictionaries; raykd's own JSON has about five levels
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "trial": {
        "number": (int,),
        "cohort": (str,),
        "role": (str,),
        "method": (str,),
        "seed": (int,),
        "config": (dict,),
        "time": (str,),
    },
    "report": {"epoch": (int,), "metrics": (dict,)},
    "end": {
        "state": (str,),
        "reason": (str,),
        "checkpoint": (str,),
        "cost": (dict,),
        "params": (int, type(None)),
    },
}
_DEFAULTS: dict[str, Any] = {"reason": "", "checkpoint": "", "cost": {}, "params": None, "time": ""}


def plain(value: Any) -> Any:
    """Converts `value` to the types of JSON; NaN and infinities become `{"$float": "nan"}` etc.

    Raises:
        StoreError: JSON has no type for a value.
    """
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Integral):  # NumPy's
        return int(value)
    if isinstance(value, Real):
        return plain(float(value))
    raise StoreError(
        f"cannot store {type(value).__name__} values; use numbers, text, booleans, None, and lists"
        " or dictionaries of them"
    )


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Returns `value` as strict JSON with sorted keys; NaN and infinities are preserved."""
    return json.dumps(plain(value), allow_nan=False, sort_keys=True, indent=indent)


def from_json(text: str | bytes) -> Any:
    """Parses JSON that `to_json` wrote.

    Raises:
        DamagedObjectError: The text is not JSON, or is nested more than `_DEEPEST` levels deep.
    """
    try:
        read = json.loads(text, object_hook=_float)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedObjectError(f"not JSON of raykd ({error})") from error
    level, depth = [read], 0
    while level := [part for item in level for part in _parts(item)]:
        depth += 1
        if depth > _DEEPEST:
            raise DamagedObjectError(f"JSON that is nested more than {_DEEPEST} levels deep")
    return read


def _float(item: dict[str, Any]) -> Any:
    return float(item["$float"]) if list(item) == ["$float"] else item


def _parts(item: Any) -> Iterable[Any]:
    """Returns the lists and dictionaries directly inside a list or dictionary."""
    inside = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return [part for part in inside if isinstance(part, dict | list)]


def checked(record: Record) -> Record:
    """Validates a record and returns it with its defaults filled in.

    Raises:
        StoreError: The kind is unknown, or a field is missing, unknown, or has a wrong type or
            value.
    """
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise StoreError(f"unknown kind of record {kind!r}; known: {', '.join(_FIELDS)}")
    fields = {"trial": (str,), **_FIELDS[kind]}
    full = {**{key: _DEFAULTS[key] for key in fields if key in _DEFAULTS}, **record}
    if problem := full.keys() ^ {"kind", *fields}:
        raise StoreError(
            f"a {kind!r} record has missing or unknown fields: {', '.join(sorted(problem))};"
            f" it has: {', '.join(fields)}"
        )
    full = {key: _checked_field(kind, key, value, fields) for key, value in full.items()}
    if kind == "report" and full["epoch"] < 1:
        raise StoreError(f"epoch is {full['epoch']}; epochs are counted from 1")
    if kind == "trial" and full["role"] not in ROLES:
        raise StoreError(f"role is {full['role']!r}; allowed: {', '.join(ROLES)}")
    if kind == "end" and full["state"] not in STATES:
        raise StoreError(f"state is {full['state']!r}; allowed: {', '.join(STATES)}")
    _check_names(full)
    return full


def _check_names(record: Record) -> None:
    """Refuses names that would lead out of a folder or contain a line break."""
    for key in ("trial", "cohort", "method"):
        name = record.get(key, "")
        if not is_name(name) and (name or key == "trial"):  # a teacher has no cohort and no method
            raise StoreError(
                f"{key} is {name!r}; it must be a name of at most 200 printable characters, without"
                " slashes and not beginning with a dot"
            )
    path = record.get("checkpoint", "")
    if path and not is_path(path):
        raise StoreError(f"checkpoint is {path!r}; it must be names joined by '/'")
    for key in ("config", "metrics", "cost"):
        if bad := [name for name in record.get(key, {}) if not is_label(name)]:
            raise StoreError(
                f"{key} has the name {bad[0]!r}; it must be at most 200 printable characters"
            )


def _checked_field(kind: str, key: str, value: Any, fields: dict[str, tuple[type, ...]]) -> Any:
    """Validates one field's value and returns it; NumPy integers become Python's."""
    if key == "kind":
        return value
    if isinstance(value, Integral) and not isinstance(value, bool):
        value = int(value)
        if not -(2**63) <= value < 2**63:
            raise StoreError(f"{key} of a {kind!r} record is {value}; it must fit in 64 bits")
    if key in ("metrics", "cost") and isinstance(value, dict):
        return _numbers(key, value)
    if not isinstance(value, fields[key]) or isinstance(value, bool):
        wanted = " or ".join(item.__name__ for item in fields[key])
        raise StoreError(f"{key} of a {kind!r} record is {value!r}; it must be {wanted}")
    return from_json(to_json(value)) if key == "config" else value


def _numbers(key: str, values: dict[Any, Any]) -> dict[str, float]:
    """Validates metrics or costs and returns them as floats."""
    if bad := [name for name, item in values.items() if not isinstance(item, Real)]:
        raise StoreError(f"{key} must be numbers; not so: {', '.join(map(str, bad))}")
    if key == "metrics" and "epoch" in values:
        raise StoreError("a metric cannot be called 'epoch'; choose another name")
    try:
        return {str(name): float(item) for name, item in values.items()}
    except OverflowError as error:
        raise StoreError(f"{key} must be numbers that a float can hold") from error


def pack(records: Iterable[Record]) -> bytes:
    """Serialises records as JSON lines; the first line holds the SHA-256 of the rest."""
    body = "".join(f"{to_json(record)}\n" for record in records).encode()
    head = to_json({"sha256": hashlib.sha256(body).hexdigest()})
    return f"{head}\n".encode() + body


def unpack(data: bytes) -> list[Record]:
    """Parses and validates records that `pack` serialised.

    Raises:
        DamagedObjectError: The bytes were truncated or altered, or `checked` refuses a record.
    """
    line, _, body = data.partition(b"\n")
    head = from_json(line)
    if not isinstance(head, dict) or "sha256" not in head:
        raise DamagedObjectError("no object of raykd")
    if hashlib.sha256(body).hexdigest() != head["sha256"]:
        raise DamagedObjectError("cut short or altered, its SHA-256 differs")
    records = [from_json(line) for line in body.splitlines()]
    if not all(isinstance(record, dict) for record in records):
        raise DamagedObjectError("a record in it is none of raykd's")
    try:
        return [checked(record) for record in records]
    except StoreError as error:
        raise DamagedObjectError(f"a record in it is none of raykd's: {error}") from error
