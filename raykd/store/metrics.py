"""Tables of metrics in long form: one row per trial, epoch and metric.

Trials of different methods may therefore have different metrics.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from raykd.store.errors import DamagedObjectError
from raykd.store.names import is_label, is_name
from raykd.store.records import Record

LONG = pa.schema(
    [("trial", pa.string()), ("epoch", pa.int64()), ("name", pa.string()), ("value", pa.float64())]
)
_KEY = ["trial", "epoch", "name"]


def long_table(records: Iterable[Record]) -> pa.Table:
    """Returns the metrics of all reports in long form, with the last value per metric and epoch."""
    values = {
        (record["trial"], record["epoch"], name): value
        for record in records
        if record["kind"] == "report"
        for name, value in record["metrics"].items()
    }
    keys = sorted(values)
    columns = [list(column) for column in zip(*keys, strict=True)] or [[], [], []]
    return pa.table([*columns, [values[key] for key in keys]], schema=LONG)


def check_long(table: pa.Table) -> None:
    """Checks that raykd could have written a stored table of metrics.

    Raises:
        DamagedObjectError: The table has other columns, or names that raykd never writes.
    """
    if not table.schema.equals(LONG):
        raise DamagedObjectError("no table of metrics: its columns are not those of raykd")
    for column, right in (("trial", is_name), ("name", is_label)):
        for name in pc.unique(table[column]).to_pylist():
            if not right(name):
                raise DamagedObjectError(f"{column} {name!r} in it is no name of raykd's")


def latest(tables: list[pa.Table]) -> pa.Table:
    """Concatenates long tables, given in the order of their writing; later values win."""
    if len(tables) < 2:
        return tables[0] if tables else LONG.empty_table()
    grouped = pa.concat_tables(tables).group_by(_KEY, use_threads=False)
    table = grouped.aggregate([("value", "last")]).rename_columns([*_KEY, "value"])
    return table.sort_by([(name, "ascending") for name in _KEY]).select(LONG.names)


def wide_table(table: pa.Table) -> pa.Table:
    """Converts one trial's long table to wide form: one row per epoch, one column per metric."""
    rows = table.to_pylist()
    epochs = sorted({row["epoch"] for row in rows})
    place = {epoch: i for i, epoch in enumerate(epochs)}
    columns: dict[str, list[float | None]] = {
        name: [None] * len(epochs) for name in sorted({row["name"] for row in rows})
    }
    for row in rows:
        columns[row["name"]][place[row["epoch"]]] = row["value"]
    schema = pa.schema([("epoch", pa.int64()), *((name, pa.float64()) for name in columns)])
    return pa.table([epochs, *columns.values()], schema=schema)
