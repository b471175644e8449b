"""Builds the table of trials, one row per trial, from the records of a study."""

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
    """One setting of the hyperparameters and its results.

    Attributes:
        id: Name of the trial within the study, like `"0007"`.
        number: Number of the trial in the study's search; -1 for a teacher or reference.
        cohort: Name of the cohort that the trial was trained in; "" for a teacher.
        role: `search`, `first` (a given setting), `reference` or `teacher`.
        method: Name of the distillation method; "" for a teacher.
        seed: Seed of the trial.
        state: `RUNNING`, `COMPLETE`, `PRUNED` or `FAIL`.
        reason: Why the trial ended early; "" if there is no reason.
        config: Hyperparameters by name.
        metrics: Metrics after the last epoch by name; comparisons use these.
        best: Metrics by name at `best_epoch`, where the study's first objective was best.
        epoch: Last epoch that was reported, counted from 1; None before the first report.
        best_epoch: Epoch of `best`; None before the first finite value of the objective.
        params: Number of parameters of the network; None or 0 if unknown.
        checkpoint: Path of the checkpoint below the root of the store; "" if there is none.
        cost: Cost by name, which says the unit, such as `seconds` and `epochs`.
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
    """Mutable row of a trial, to which records are applied."""

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
        """Updates the row from a record; applying the same record again changes nothing."""
        if record["kind"] == "report":
            self._report(record["epoch"], record["metrics"], objective, sign)
        else:
            for key, value in record.items():
                if key != "kind":
                    setattr(self, key, value)

    def _report(self, epoch: int, metrics: dict[str, float], objective: str, sign: int) -> None:
        if self.epoch is None or epoch > self.epoch:
            self.epoch, self.last = epoch, dict(metrics)
        elif epoch == self.epoch:  # a second report of an epoch adds metrics
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
    """A table of trials that can be updated with later records.

    Args:
        base: Table of the trials of a snapshot; None if there is no snapshot.
        objective: Metric by which the best epoch is chosen.
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
        """Applies records, given in the order of their writing."""
        records = list(records)
        names = {record["trial"] for record in records} - self._rows.keys()
        if known := sorted(names & self._place.keys()):
            for row in self.base.take([self._place[name] for name in known]).to_pylist():
                self._rows[row["trial"]] = _row(row)
        for record in records:
            row = self._rows.setdefault(record["trial"], _Row(record["trial"]))
            row.apply(record, self._objective, 1 if self._mode == "max" else -1)

    def table(self) -> pa.Table:
        """Returns a table of all trials, one row each, sorted by number."""
        if not self._rows:
            return self.base
        touched = pa.array(list(self._rows), pa.string())
        kept = self.base.filter(pc.invert(pc.is_in(self.base["trial"], touched)))
        table = _joined(kept, _table(list(self._rows.values())))
        return table.sort_by([("number", "ascending"), ("trial", "ascending")])

    def settled(self) -> "Trials":
        """Returns the same trials with all applied records merged into the base table."""
        return Trials(self.table(), self._objective, self._mode)


def stored_config(text: str) -> dict[str, Any]:
    """Parses the hyperparameters of a stored trial.

    Raises:
        DamagedObjectError: The text is not a JSON dictionary with valid names.
    """
    config = from_json(text)
    if not isinstance(config, dict) or not all(map(is_label, config)):
        raise DamagedObjectError(f"{text[:100]!r} are no hyperparameters of a trial")
    return config


def to_trial(row: dict[str, Any]) -> Trial:
    """Converts one row of the table to a `Trial`."""
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
    """Converts one row of the table to a mutable row."""
    core = {name: row[name] for name in CORE.names if name != "config"}
    groups: dict[str, Any] = {**_grouped(row), "config": stored_config(row["config"])}
    return _Row(**core, **groups)


def _grouped(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Groups the prefixed columns: `last_loss` becomes `loss` under `last`; nulls are left out."""
    groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS.values()}
    for column, value in row.items():
        prefix = column.partition("_")[0] + "_"
        if prefix in GROUPS and column not in CORE.names and value is not None:
            groups[GROUPS[prefix]][column.removeprefix(prefix)] = value
    return groups


def _table(rows: list[_Row]) -> pa.Table:
    """Converts rows to a table with every column that any row has."""
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
    """Concatenates two tables with the columns of both; integers beside floats become floats."""
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
    """Returns the column names in order: `CORE` as declared, then each group alphabetically."""
    more = sorted(name for name in names if name not in CORE.names)
    return [*CORE.names, *(name for group in GROUPS for name in more if name.startswith(group))]


def _config_column(values: list[Any]) -> Any:
    """Returns the values of one hyperparameter in the narrowest Arrow type that holds them all.

    Booleans, integers, floats (also mixed with integers) and texts keep their type. Lists,
    dictionaries and other mixtures become text: a text stays as it is, other values become JSON.
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
