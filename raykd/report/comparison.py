"""Compares the accuracies of studies with published ones."""

import math
from collections.abc import Mapping

from rich.console import Group
from rich.table import Table

from raykd.report.published import Row, cifar100, relative_improvement
from raykd.report.results import Contender

TEST = "test_top1"
"""Metric that is compared: test accuracy after the last epoch, between 0 and 1."""
NEWEST = ("itrd", "l_corr")
"""Methods whose improvement over the others is given in table 2 of Miles et al. (BMVC 2022)."""


def beside(ours: Mapping[str, Mapping[str, Contender]]) -> Group:
    """Returns a table of all pairs and methods, followed by the relative improvements of table 2.

    Args:
        ours: Results by pair (`teacher/student`) and method, named as in `published.cifar100`.
            Pairs and methods without published numbers are allowed.
    """
    table = Table("pair", "method", title="test accuracy in %", box=None, header_style="dim")
    for column in ("ours", "published", "over KD", "published"):
        table.add_column(column, justify="right")
    for pair, methods in ours.items():
        kd = _top1(methods["kd"]) if "kd" in methods else math.nan
        for name, contender in methods.items():
            table.add_row(pair, *_cells(name, pair, contender, kd))
        table.add_section()
    notes = [
        f"{row.label}: {row.note}"
        for name, row in cifar100().items()
        if row.note and any(name in methods for methods in ours.values())
    ]
    return Group(table, *notes, *_improvements(ours))


def _cells(name: str, pair: str, contender: Contender, kd: float) -> list[str]:
    row = cifar100().get(name)
    mine, spread = _top1(contender), contender.std(TEST)
    told = contender.text_or_state(TEST)
    if math.isfinite(mine):
        told = _number(mine, spread and 100 * spread)
    published = "" if row is None else _number(row.top1.get(pair), row.std.get(pair))
    baseline = cifar100()["kd"].top1.get(pair)
    gains = [mine - kd, math.nan]
    if row is not None and baseline is not None and pair in row.top1:
        gains[1] = row.top1[pair] - baseline
    over = ["" if math.isnan(gain) or name == "kd" else f"{gain:+.2f}" for gain in gains]
    return [row.label if row else name, told, published, *over]


def _number(mean: float | None, std: float | None) -> str:
    if mean is None:
        return ""
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def _improvements(ours: Mapping[str, Mapping[str, Contender]]) -> list[str]:
    """Returns the relative improvements of table 2, ours and the published ones for our pairs."""
    mine: dict[str, dict[str, float]] = {}
    for pair, methods in ours.items():
        for name, contender in methods.items():
            if math.isfinite(_top1(contender)):
                mine.setdefault(name, {})[pair] = _top1(contender)
    told = {name: _only(row, mine.get(name, {})) for name, row in cifar100().items()}
    lines = []
    for x in NEWEST:
        for y in ("reviewkd", "wcord", "l_corr"):
            if x != y and {x, y, "kd"} <= set(mine):
                values = [_improvement(rows, x, y) for rows in (mine, told)]
                lines.append(
                    f"relative improvement of {cifar100()[x].label} over {cifar100()[y].label}:"
                    f" {values[0]}, published for the same pairs: {values[1]}"
                )
    return lines


def _improvement(rows: Mapping[str, Mapping[str, float]], x: str, y: str) -> str:
    try:
        return f"{relative_improvement(rows[x], rows[y], rows['kd']):+.2f} %"
    except ValueError:
        return "none"


def _only(row: Row, pairs: Mapping[str, float]) -> dict[str, float]:
    return {pair: value for pair, value in row.top1.items() if pair in pairs}


def _top1(contender: Contender) -> float:
    return 100 * contender.mean(TEST)
