import math

import pyarrow as pa

from raykd.store.metrics import LONG, latest, long_table, wide_table


def rows(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def test_long_table_is_sorted_and_keeps_the_last_value(made):
    table = long_table(
        [
            made.trial(1),
            made.report(2, 1, loss=1.0),
            made.report(1, 2, loss=3.0, val_top1=0.5),
            made.report(1, 1, loss=4.0),
            made.report(1, 1, loss=5.0),
        ]
    )
    assert table.schema == LONG
    assert rows(table) == [
        ("0001", 1, "loss", 5.0),
        ("0001", 2, "loss", 3.0),
        ("0001", 2, "val_top1", 0.5),
        ("0002", 1, "loss", 1.0),
    ]
    assert long_table([]).schema == LONG


def test_latest_keeps_the_later_table(made):
    a = long_table([made.report(1, 1, loss=1.0), made.report(1, 2, loss=2.0)])
    b = long_table([made.report(1, 2, loss=math.inf), made.report(0, 1, loss=0.0)])
    merged = latest([a, b])
    assert merged.schema == LONG
    assert rows(merged) == [
        ("0000", 1, "loss", 0.0),
        ("0001", 1, "loss", 1.0),
        ("0001", 2, "loss", math.inf),
    ]
    assert latest([]).equals(LONG.empty_table())
    assert math.isnan(
        latest([a, long_table([made.report(1, 1, loss=math.nan)])])["value"][0].as_py()
    )


def test_wide_table(made):
    table = wide_table(
        long_table([made.report(1, 3, loss=1.0, val_top1=0.1), made.report(1, 1, loss=math.nan)])
    )
    assert table.column_names == ["epoch", "loss", "val_top1"]
    assert table["epoch"].to_pylist() == [1, 3]
    assert table["val_top1"].to_pylist() == [None, 0.1]
    assert math.isnan(table["loss"][0].as_py())
    assert wide_table(long_table([])).schema == pa.schema([("epoch", pa.int64())])
