"""Plots learning curves; also holds the colours and style shared by all figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from raykd.report import formatting
from raykd.report.results import Compared, Contender, Results

COLOURS = {
    "teacher": "#9467bd",
    "plain": "#d55e00",
    "reference": "#e0a000",
    "given": "#009e73",
    "best": "#1f77d0",
}
_MORE_REFERENCES = ("#cc79a7", "#56b4e9", "#a6761d", "#7f7f7f")
FAINT = "#86909c"
MOST_CURVES = 300  # maximum number of learning curves drawn in the faint colour


@dataclass(frozen=True)
class Line:
    """A contender that has its own colour, the same in every figure.

    Attributes:
        label: Name in legends.
        colour: Colour in hexadecimal notation.
        contender: Setting whose metrics are drawn.
        kind: Kind of its row in the comparison: `teacher`, `plain`, `reference`, `given`, `best`.
    """

    label: str
    colour: str
    contender: Contender
    kind: str


def lines(compared: Sequence[Compared]) -> list[Line]:
    """Assigns a colour to each row of the comparison.

    A given setting that is also the best one gets a single line, of kind `best`.
    """
    more, drawn = iter(_MORE_REFERENCES * len(compared)), []
    best = next((row.contender for row in compared if row.kind == "best"), None)
    used: set[str] = set()
    for row in compared:
        if row.contender == best and row.kind != "best":
            continue
        colour = next(more) if row.kind in used else COLOURS[row.kind]
        used.add(row.kind)
        state = row.contender.state
        ended = "" if state == "COMPLETE" else f" ({formatting.STATES[state]})"
        drawn.append(Line(row.label + ended, colour, row.contender, row.kind))
    return drawn


def learning_curves(results: Results, drawn: Sequence[Line]) -> go.Figure | str:
    """Plots the objective by epoch: the compared settings in colours, other trials faint.

    Returns:
        The figure, or a sentence that says why there is none.
    """
    trials = [trial for contender in results.contenders for trial in contender.trials]
    failed = {(trial.id, trial.epoch) for trial in trials if trial.state == "FAIL"}
    points: dict[str, dict[int, float]] = {}
    for row in results.study.metrics().to_pylist():
        if row["name"] == results.metric and (row["trial"], row["epoch"]) not in failed:
            points.setdefault(row["trial"], {})[row["epoch"]] = row["value"]
    shown = [line for line in drawn if line.kind != "teacher"]
    coloured = {line.contender.name for line in shown}
    ranked = results.ranked()
    others = [c for c in ranked if c.name not in coloured]
    others += [c for c in results.searched if c not in ranked]
    figure = go.Figure()
    figure.add_trace(_faint(others[:MOST_CURVES], points))
    for line in reversed(shown):
        figure.add_trace(_mean_curve(line, points))
    last = max((epoch for curve in points.values() for epoch in curve), default=0)
    if not last:
        return "There are no reports yet."
    for line in drawn:
        if line.kind == "teacher" and math.isfinite(line.contender.mean(results.metric)):
            figure.add_trace(across(line, results.metric, [1, max(last, 2)]))
    style(figure, 420)
    figure.update_xaxes(title_text="epoch", tickformat="d", dtick=1 if last <= 10 else None)
    label_axis(figure, results.metric)
    return figure


def _faint(others: Sequence[Contender], points: dict[str, dict[int, float]]) -> go.Scatter:
    """Returns many curves as one trace, separated by gaps."""
    x: list[int | None] = []
    y: list[float | None] = []
    names: list[str] = []
    for contender in others:
        for trial in contender.trials:
            curve = sorted(points.get(trial.id, {}).items())
            x += [*(epoch for epoch, _ in curve), None]
            y += [*(finite(value) for _, value in curve), None]
            names += [escape(trial.id)] * (len(curve) + 1)
    return go.Scatter(
        x=x,
        y=y,
        text=names,
        mode="lines+markers",
        line={"color": FAINT, "width": 1},
        marker={"color": FAINT, "size": 4},
        hovertemplate="trial %{text}: %{y}<extra></extra>",
        name="other trials",
        opacity=0.45,
    )


def _mean_curve(line: Line, points: dict[str, dict[int, float]]) -> go.Scatter:
    """Returns a contender's curve: the mean over its replicates at the epochs that all reached."""
    curves = [points.get(trial.id, {}) for trial in line.contender.trials]
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    means = [finite(sum(curve[e] for curve in curves) / len(curves)) for e in epochs]
    return go.Scatter(
        x=epochs,
        y=means,
        mode="lines+markers",
        line={"color": line.colour, "width": 3.5 if line.kind == "best" else 2.2},
        marker={"size": 6},
        hovertemplate=f"{escape(line.label)}: %{{y}}<extra></extra>",
        name=escape(line.label),
    )


def across(line: Line, metric: str, span: Sequence[int | float]) -> go.Scatter:
    """Returns a dashed horizontal line at a contender's value after the last epoch.

    Args:
        line: Contender and its colour.
        metric: Metric that is drawn.
        span: Start and end of the line on the horizontal axis.
    """
    return go.Scatter(
        x=list(span),
        y=[line.contender.mean(metric)] * len(span),
        mode="lines",
        line={"color": line.colour, "width": 2, "dash": "dash"},
        hovertemplate=f"{escape(line.label)}: %{{y}}<extra></extra>",
        name=escape(line.label),
    )


def style(figure: go.Figure, height: int) -> None:
    """Applies the common style and a height in pixels; the page colours text and grid."""
    figure.update_layout(
        template="none",
        title=None,
        height=height,
        autosize=True,
        width=None,
        margin={"l": 64, "r": 16, "t": 12, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
        showlegend=False,
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
    )
    figure.update_xaxes(title_font_size=13)
    figure.update_yaxes(title_font_size=13, automargin=True)


def label_axis(figure: go.Figure, metric: str) -> None:
    """Sets the title and number format of the vertical axis to those of a metric."""
    figure.update_yaxes(
        title_text=escape(formatting.title(metric)),
        tickformat=".2~%" if formatting.is_share(metric) else None,
        hoverformat=".2%" if formatting.is_share(metric) else ".4g",
        autorangeoptions={"clipmin": -0.02, "clipmax": 1.02}
        if formatting.is_share(metric)
        else None,
    )


def finite(value: float) -> float | None:
    """Returns a finite value as it is, and None, which makes a gap, for NaN and infinities."""
    return value if math.isfinite(value) else None
