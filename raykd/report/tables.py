"""Formats results as tables for a terminal; most columns have the names used in the store."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from raykd.report import formatting
from raykd.report.results import Contender, Results
from raykd.store import Study


def summary(results: Results) -> RenderableType:
    """Returns a table of teacher, plain student, references, given settings and best setting.

    Metrics are those after the last epoch; one column has the metric at the best epoch.
    """
    metric, test = results.metric, formatting.on_test(results.metric)
    table = _table("", title=f"{results.study.name}: {results.subject}")
    table.columns[0].no_wrap = True
    for column in (*(["validation", "test"] if test else [metric]), "best epoch", "over plain"):
        table.add_column(column, justify="right")
    rows = results.compared()
    plain = next((row.contender for row in rows if row.kind == "plain"), None)
    for row in rows:
        ours = row.contender
        own = plain is None or row.kind in ("teacher", "plain")
        table.add_row(
            Text(row.label),
            ours.text_or_state(metric),
            *([ours.text(test)] if test else []),
            "" if row.kind == "teacher" else ours.best_text(metric),
            "" if plain is None or own else ours.gain(plain, metric),
            style="bold" if row.kind == "best" else "",
        )
    what = formatting.title(metric).removeprefix("validation ")
    lines = [Text(f"{what} after the last epoch; the best epoch by validation, its number beside")]
    lines += [
        Text(f"{row.label} {formatting.STATES[row.contender.state]}: {row.contender.reason}")
        for row in rows
        if row.contender.reason
    ]
    lines.append(Text(results.progress))
    if ranked := results.ranked():
        settings = formatting.settings(ranked[0].config) or "nothing was searched"
        lines.append(Text(f"best configuration: {settings}", style="bold"))
    return Group(table, *lines)


def best(results: Results, contenders: Sequence[Contender], metrics: Sequence[str]) -> Table:
    """Returns a table of settings in the given order, with metrics and hyperparameters.

    Metrics are those after the last epoch, followed by the objective at the best epoch.
    """
    names = sorted({name for contender in contenders for name in contender.config})
    shown = [m for m in with_test(metrics) if any(c.text(m) for c in contenders)]
    table = _table("trial")
    _add_numbers(table, [*shown, f"best {results.metric}", *names])
    for ours in contenders:
        given = " (given)" if ours.role == "first" else ""
        table.add_row(
            Text(ours.name + given),
            *(ours.text(metric) for metric in shown),
            ours.best_text(results.metric),
            *(_setting(ours.config.get(name)) for name in names),
        )
    return table


def trials(study: Study) -> Table:
    """Returns a table of all trials, one row each."""
    rows = study.trials()
    metrics = [m for m in with_test(study.spec["metric"]) if f"last_{m}" in rows.column_names]
    names = [n.removeprefix("config_") for n in rows.column_names if n.startswith("config_")]
    table = _table("trial", "role", "state")
    _add_numbers(table, ["epoch", *metrics, *names])
    table.add_column("reason", overflow="fold")
    for row in rows.to_pylist():
        alive = row["state"] != "FAIL"  # metrics of a failed trial are no result
        table.add_row(
            Text(row["trial"]),
            row["role"],
            formatting.STATES[row["state"]],
            "" if row["epoch"] is None else str(row["epoch"]),
            *(_number(metric, row[f"last_{metric}"] if alive else None) for metric in metrics),
            *(_setting(row[f"config_{name}"]) for name in names),
            Text(row["reason"]),
        )
    return table


def curve(rows: Sequence[dict[str, Any]], metrics: Sequence[str]) -> Table:
    """Returns a table of one trial's metrics, one row per epoch."""
    table = _table()
    _add_numbers(table, ["epoch", *metrics])
    for row in rows:
        table.add_row(str(row["epoch"]), *(_number(metric, row[metric]) for metric in metrics))
    return table


def studies(found: Sequence[Results]) -> Table:
    """Returns a table of studies with their subject, progress and best value."""
    table = _table("study", "what", "trials", "best")
    for results in found:
        ranked = results.ranked()
        value = f"{results.metric} {ranked[0].text(results.metric)}" if ranked else ""
        table.add_row(
            Text(results.study.name), Text(results.subject), results.progress, Text(value)
        )
    return table


def with_test(metrics: Sequence[str]) -> list[str]:
    """Returns the metrics, each validation metric followed by the one of the test split."""
    pairs = (pair for metric in metrics for pair in (metric, formatting.on_test(metric)) if pair)
    return list(dict.fromkeys(pairs))


def _table(*columns: str, title: str | None = None) -> Table:
    heading = None if title is None else Text(title, style="bold")
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column)
    return table


def _add_numbers(table: Table, names: Sequence[str]) -> None:
    for name in names:
        table.add_column(escape(name), justify="right")


def _number(metric: str, item: float | None) -> str:
    return formatting.value(metric, math.nan if item is None else item)


def _setting(item: Any) -> Text:
    return Text("" if item is None else formatting.setting(item))
