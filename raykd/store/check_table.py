"""Validates a stored table of trials: anyone who can write to the bucket may have created it."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raykd.store.errors import DamagedObjectError
from raykd.store.names import is_label, is_name, is_path
from raykd.store.records import ROLES, STATES
from raykd.store.trials import CORE, GROUPS

_TYPES = {"config_": {pa.null(), pa.bool_(), pa.int64(), pa.float64(), pa.string()}}
_NUMBERS = {pa.null(), pa.float64()}  # types of the columns of the other groups


def check_table(table: pa.Table) -> None:
    """Checks that raykd could have written a stored table of trials.

    The content of the `config` column is not checked here, but when a trial is read.

    Raises:
        DamagedObjectError: The table has columns, types, names or states that raykd never writes.
    """
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        core = name in CORE.names
        known = core or (name.startswith(tuple(GROUPS)) and is_label(name))
        types = _TYPES.get(name[: len("config_")], _NUMBERS)
        if not known or kind not in ({CORE.field(name).type} if core else types):
            raise DamagedObjectError(f"no table of trials: its column {name!r} is {kind}")
    if len({*table.column_names}) < table.num_columns:
        raise DamagedObjectError("no table of trials: two of its columns have the same name")
    if missing := set(CORE.names) - set(table.column_names):
        raise DamagedObjectError(f"no table of trials: it lacks {', '.join(sorted(missing))}")
    begun = table.filter(pc.is_valid(table["number"]))
    for name in ("cohort", "role", "method", "seed", "time"):
        if begun[name].null_count:
            raise DamagedObjectError(f"no table of trials: a trial that has begun has no {name}")
    allowed: dict[str, Callable[[Any], bool]] = {
        "trial": is_name,
        "cohort": lambda item: item in (None, "") or is_name(item),
        "method": lambda item: item in (None, "") or is_name(item),
        "role": lambda item: item is None or item in ROLES,
        "state": lambda item: item in ("RUNNING", *STATES),
        "checkpoint": lambda item: item == "" or is_path(item),
        "reason": lambda item: item is not None,
    }
    for name, right in allowed.items():
        for item in pc.unique(table[name]).to_pylist():
            if not right(item):
                raise DamagedObjectError(f"{name} {item!r} in it is none of raykd's")
