"""Trials: what the records say about each, as one row a trial."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raykd.store.errors import DamagedObjectError
from raykd.store.names import is_label
from raykd.store.records import Record, from_json, to_json

CORE = pa.schema(
    [
        ("trial", pa.string()),
        ("number", pa.int64()),
        ("cohort", pa.string()),
        ("role", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("time", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("checkpoint", pa.string()),
        ("params", pa.int64()),
        ("epoch", pa.int64()),
        ("best_epoch", pa.int64()),
        ("config", pa.string()),  # exact types as JSON; the config_<name> columns are for queries
    ]
)
GROUPS = {"config_": "config", "last_": "last", "best_": "best", "cost_": "cost"}


@dataclass(frozen=True)
class Trial:
    """One setting of the hyperparameters and what came of it.

    Attributes:
        id: Its name within the study, `"0007"`.
        state: `RUNNING`, `COMPLETE`, `PRUNED` or `FAIL` (then `reason` says why).
        metrics: By name, after the last epoch; comparisons use these.
        best: By name, at `best_epoch`: where the study's first objective was best.
        checkpoint: Path below the store's root, or "".
        cost: By name and unit, as `seconds` and `images`.
    """

    id: str
    number: int
    cohort: str
    role: str
    method: str
    seed: int
    state: str
    reason: str
    config: dict[str, Any]
    metrics: dict[str, float]
    best: dict[str, float]
    epoch: int | None
    best_epoch: int | None
    params: int | None
    checkpoint: str
    cost: dict[str, float]


@dataclass
class _Row:
    """A trial while records are applied to it."""

    trial: str
    number: int | None = None
    cohort: str | None = None
    role: str | None = None
    method: str | None = None
    seed: int | None = None
    time: str | None = None
    state: str = "RUNNING"
    reason: str = ""
    checkpoint: str = ""
    params: int | None = None
    epoch: int | None = None
    best_epoch: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)

    def apply(self, record: Record, objective: str, sign: int) -> None:
        """Takes a record in; taking it in twice changes nothing."""
        if record["kind"] == "report":
            self._report(record["epoch"], record["metrics"], objective, sign)
        else:
            for key, value in record.items():
                if key != "kind":
                    setattr(self, key, value)

    def _report(self, epoch: int, metrics: dict[str, float], objective: str, sign: int) -> None:
        if self.epoch is None or epoch > self.epoch:
            self.epoch, self.last = epoch, dict(metrics)
        elif epoch == self.epoch:  # a second report of an epoch adds to it
            metrics = self.last = {**self.last, **metrics}
        if epoch == self.best_epoch:
            self.best = {**self.best, **metrics}
            return
        value = metrics.get(objective, math.nan)
        if not math.isfinite(value):
            return
        gain = sign * (value - self.best[objective]) if self.best_epoch else math.inf
        if gain > 0 or (gain == 0 and self.best_epoch and epoch < self.best_epoch):
            self.best_epoch, self.best = epoch, dict(metrics)


class Trials:
    """A table of trials and the records that came after it.

    Args:
        base: The trials of a snapshot, or None.
        objective: The metric that the best epoch is chosen by.
        mode: `"max"` or `"min"`.
    """

    def __init__(self, base: pa.Table | None, objective: str, mode: str) -> None:
        self.base = CORE.empty_table() if base is None else base
        self._rows: dict[str, _Row] = {}
        self._place = {trial: i for i, trial in enumerate(self.base["trial"].to_pylist())}
        self._objective, self._mode = objective, mode

    def __contains__(self, trial: object) -> bool:
        return trial in self._rows or trial in self._place

    def apply(self, records: Iterable[Record]) -> None:
        """Takes records in, in the order of their writing."""
        records = list(records)
        names = {record["trial"] for record in records} - self._rows.keys()
        if known := sorted(names & self._place.keys()):
            for row in self.base.take([self._place[name] for name in known]).to_pylist():
                self._rows[row["trial"]] = _row(row)
        for record in records:
            row = self._rows.setdefault(record["trial"], _Row(record["trial"]))
            row.apply(record, self._objective, 1 if self._mode == "max" else -1)

    def table(self) -> pa.Table:
        """Returns all trials, a row each, in the order of their numbers."""
        if not self._rows:
            return self.base
        touched = pa.array(list(self._rows), pa.string())
        kept = self.base.filter(pc.invert(pc.is_in(self.base["trial"], touched)))
        table = _joined(kept, _table(list(self._rows.values())))
        return table.sort_by([("number", "ascending"), ("trial", "ascending")])

    def settled(self) -> "Trials":
        """Returns the same with all records in the base."""
        return Trials(self.table(), self._objective, self._mode)


def stored_config(text: str) -> dict[str, Any]:
    """Reads the hyperparameters of a stored trial."""
    config = from_json(text)
    if not isinstance(config, dict) or not all(map(is_label, config)):
        raise DamagedObjectError(f"{text[:100]!r} are no hyperparameters of a trial")
    return config


def to_trial(row: dict[str, Any]) -> Trial:
    """Makes a `Trial` of one row of the table."""
    groups = _grouped(row)
    same = ("number", "cohort", "role", "method", "seed", "state", "reason", "epoch")
    return Trial(
        id=row["trial"],
        config=stored_config(row["config"]),
        metrics=groups["last"],
        best=groups["best"],
        cost=groups["cost"],
        best_epoch=row["best_epoch"],
        params=row["params"],
        checkpoint=row["checkpoint"],
        **{key: row[key] for key in same},
    )


def _row(row: dict[str, Any]) -> _Row:
    """Makes a row of the table ready for more records."""
    core = {name: row[name] for name in CORE.names if name != "config"}
    groups: dict[str, Any] = {**_grouped(row), "config": stored_config(row["config"])}
    return _Row(**core, **groups)


def _grouped(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Collects `last_loss` under `last` as `loss`, and so on; what a trial lacks is null."""
    groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS.values()}
    for column, value in row.items():
        prefix = column.partition("_")[0] + "_"
        if prefix in GROUPS and column not in CORE.names and value is not None:
            groups[GROUPS[prefix]][column.removeprefix(prefix)] = value
    return groups


def _table(rows: list[_Row]) -> pa.Table:
    """Returns rows as a table; every column that any row has."""
    columns = {
        name: pa.array([getattr(row, name) for row in rows], CORE.field(name).type)
        for name in CORE.names
        if name != "config"
    }
    columns["config"] = pa.array([to_json(row.config) for row in rows], pa.string())
    for prefix, group in GROUPS.items():
        groups = [getattr(row, group) for row in rows]
        for name in sorted({name for items in groups for name in items}):
            values = [items.get(name) for items in groups]
            columns[prefix + name] = (
                _config_column(values) if group == "config" else pa.array(values, pa.float64())
            )
    return pa.table({name: columns[name] for name in _ordered(columns)})


def _joined(a: pa.Table, b: pa.Table) -> pa.Table:
    """Puts tables under one another: columns never vanish, and integers give way to floats."""
    columns = {}
    for name in _ordered({*a.column_names, *b.column_names}):
        parts = [
            table[name] if name in table.column_names else pa.nulls(len(table)) for table in (a, b)
        ]
        kinds = {part.type for part in parts} - {pa.null()}
        if len(kinds) > 1 and kinds != {pa.int64(), pa.float64()}:
            texts = [*a["config"].to_pylist(), *b["config"].to_pylist()]
            key = name.removeprefix("config_")
            columns[name] = _config_column([from_json(text).get(key) for text in texts])
            continue
        kind = pa.float64() if len(kinds) > 1 else next(iter(kinds), pa.null())
        columns[name] = pa.chunked_array(
            [chunk for part in parts for chunk in _chunks(part.cast(kind, safe=False))], kind
        )
    return pa.table(columns)


def _chunks(part: Any) -> list[Any]:
    return part.chunks if isinstance(part, pa.ChunkedArray) else [part]


def _ordered(names: Iterable[str]) -> list[str]:
    """Returns column names: the core ones as declared, then each group in alphabetical order."""
    more = sorted(name for name in names if name not in CORE.names)
    return [*CORE.names, *(name for group in GROUPS for name in more if name.startswith(group))]


def _config_column(values: list[Any]) -> Any:
    """Returns values of one hyperparameter in the narrowest type that holds them all.

    Booleans, integers, floats (also beside integers) and texts keep their type; any other mixture,
    lists and dictionaries become text, JSON where they were not text before.
    """
    kinds = {type(value) for value in values if value is not None}
    small = all(-(2**63) <= value < 2**63 for value in values if type(value) is int)
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and small:
        return pa.array(values, pa.int64())
    if kinds == {float} or (kinds == {int, float} and small):
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array(
        [v if v is None or isinstance(v, str) else to_json(v) for v in values], pa.string()
    )
