"""Results as figures: the searched trials through Optuna's own plots, and the learning curves."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

import optuna
import plotly.graph_objects as go
from optuna import visualization
from optuna.distributions import json_to_distribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState, create_trial
from plotly.colors import sample_colorscale

from raykd.report import wording
from raykd.report.results import Compared, Contender, Results

COLOURS = {
    "teacher": "#9467bd",
    "plain": "#d55e00",
    "reference": "#e0a000",
    "given": "#009e73",
    "best": "#1f77d0",
}
_MORE_REFERENCES = ("#cc79a7", "#56b4e9", "#a6761d", "#7f7f7f")
_FAINT = "rgba(128,138,150,0.40)"
_SCALE = [[0.0, "#c9ced4"], [0.5, "#86aeda"], [1.0, COLOURS["best"]]]  # legible on light and dark
_CURVES = 300  # at most so many are drawn
_TOP = 5  # trials that PED-ANOVA should find above its quantile, as Optuna advises


@dataclass(frozen=True)
class Line:
    """A contender that is drawn in a colour of its own in every figure."""

    label: str
    colour: str
    contender: Contender
    kind: str


def lines(compared: Sequence[Compared]) -> list[Line]:
    """Gives each row of the comparison its colour; what is both given and best, that of the best."""
    more, drawn = iter(_MORE_REFERENCES * len(compared)), []
    best = next((row.contender for row in compared if row.kind == "best"), None)
    used: set[str] = set()
    for row in compared:
        if row.contender == best and row.kind != "best":
            continue
        colour = next(more) if row.kind in used else COLOURS[row.kind]
        used.add(row.kind)
        drawn.append(Line(row.label, colour, row.contender, row.kind))
    return drawn


def learning_curves(results: Results, drawn: Sequence[Line]) -> go.Figure | None:
    """The objective by epoch: all trials faint, the best and the references in their colours."""
    points: dict[str, dict[int, float]] = {}
    for row in results.study.metrics().to_pylist():
        if row["name"] == results.metric:
            points.setdefault(row["trial"], {})[row["epoch"]] = row["value"]
    shown = [line for line in drawn if line.kind != "teacher"]
    coloured = {line.contender.name for line in shown}
    ranked = results.ranked()
    others = [c for c in ranked if c.name not in coloured]
    others += [c for c in results.searched if c not in ranked]
    figure = go.Figure()
    figure.add_trace(_faint(others[:_CURVES], points))
    for line in reversed(shown):
        figure.add_trace(_mean_curve(line, points))
    last = max((epoch for curve in points.values() for epoch in curve), default=0)
    if not last:
        return None
    for line in drawn:
        if line.kind == "teacher":
            figure.add_trace(_across(line, results.metric, [1, max(last, 2)]))
    style(figure, 420)
    figure.update_xaxes(title_text="epoch", tickformat="d", rangemode="normal")
    _as_metric(figure, results.metric)
    return figure


def _faint(others: Sequence[Contender], points: dict[str, dict[int, float]]) -> go.Scatter:
    """Many curves as one trace with gaps."""
    x: list[int | None] = []
    y: list[float | None] = []
    names: list[str] = []
    for contender in others:
        for trial in contender.trials:
            curve = sorted(points.get(trial.id, {}).items())
            x += [*(epoch for epoch, _ in curve), None]
            y += [*(_finite(value) for _, value in curve), None]
            names += [escape(trial.id)] * (len(curve) + 1)
    single = max((len(points.get(t.id, {})) for c in others for t in c.trials), default=0) == 1
    return go.Scatter(
        x=x,
        y=y,
        text=names,
        mode="markers" if single else "lines",
        line={"color": _FAINT, "width": 1},
        marker={"color": _FAINT},
        hovertemplate="trial %{text}: %{y}<extra></extra>",
        name="other trials",
    )


def _mean_curve(line: Line, points: dict[str, dict[int, float]]) -> go.Scatter:
    """A contender's curve: the mean of its replicates at the epochs that all have."""
    curves = [points.get(trial.id, {}) for trial in line.contender.trials]
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    means = [_finite(sum(curve[e] for curve in curves) / len(curves)) for e in epochs]
    return go.Scatter(
        x=epochs,
        y=means,
        mode="lines+markers",
        line={"color": line.colour, "width": 3.5 if line.kind == "best" else 2.2},
        marker={"size": 6},
        hovertemplate=f"{escape(line.label)}: %{{y}}<extra></extra>",
        name=escape(line.label),
    )


def _across(line: Line, metric: str, span: Sequence[float]) -> go.Scatter:
    """A contender's value after the last epoch as a dashed line across the figure."""
    return go.Scatter(
        x=list(span),
        y=[_finite(line.contender.mean(metric))] * len(span),
        mode="lines",
        line={"color": line.colour, "width": 2, "dash": "dash"},
        hovertemplate=f"{escape(line.label)}: %{{y}}<extra></extra>",
        name=escape(line.label),
    )


@dataclass(frozen=True)
class Searched:
    """The competing settings as an Optuna study; a setting's value is the mean of its seeds.

    Attributes:
        optuna: Of the first objective alone.
        all: Of all objectives.
        parameters: Names of the search space that complete trials have.
        values: The first objective of the complete ones.
    """

    optuna: optuna.Study
    all: optuna.Study
    parameters: list[str]
    values: list[float]


def searched(results: Results) -> Searched:
    """Makes Optuna's view of a study."""
    objectives = {results.metric: results.mode}
    single = _as_optuna(results, objectives)
    several = single if len(results.objectives) == 1 else _as_optuna(results, results.objectives)
    complete = single.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    named = sorted({name for trial in complete for name in trial.params})
    space = results.spec.get("space", {})
    free = [n for n in named if n not in space or not json_to_distribution(space[n]).single()]
    return Searched(single, several, free, [trial.value for trial in complete])


def _as_optuna(results: Results, objectives: dict[str, str]) -> optuna.Study:
    directions = ["maximize" if mode == "max" else "minimize" for mode in objectives.values()]
    stored = results.study.to_optuna().get_trials(deepcopy=False)
    known = {trial.user_attrs["trial"]: trial for trial in stored}
    with _quiet():
        made = optuna.create_study(directions=directions, study_name=results.study.name)
    for contender in results.searched:
        values = [contender.mean(metric) for metric in objectives]
        complete = contender.state == "COMPLETE" and all(map(math.isfinite, values))
        trial = known[contender.trials[0].id]
        made.add_trial(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.FAIL,
                values=values if complete else None,
                params=trial.params,
                distributions=trial.distributions,
            )
        )
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def history(results: Results, found: Searched, drawn: Sequence[Line]) -> go.Figure | str:
    """The objective by trial, and the best so far."""
    if not found.values:
        return "No trial is complete."
    name = wording.title(results.metric)
    figure = visualization.plot_optimization_history(found.optuna, target_name=name)
    figure.data[0].update(name="trials", marker={"color": "#86909c", "size": 7})
    figure.data[1].update(name="best so far", line={"color": COLOURS["best"], "width": 2.5})
    span = [-0.5, len(found.optuna.get_trials(deepcopy=False)) - 0.5]
    for line in drawn:
        if line.kind != "best":
            figure.add_trace(_across(line, results.metric, span))
    style(figure, 420)
    figure.update_xaxes(title_text="trial", range=span)
    _as_metric(figure, results.metric)
    return figure


def importance(found: Searched) -> go.Figure | str:
    """How much each parameter matters for being among the best, or why that cannot be said."""
    if len(found.parameters) < 2:
        return "Importance compares parameters: it needs at least two that were searched."
    if len(found.values) < 2 * _TOP:
        return f"Importance needs at least {2 * _TOP} complete trials; there are {len(found.values)}."
    quantile = max(0.1, _TOP / len(found.values))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Target and region quantiles select the same", UserWarning)
        try:
            figure = visualization.plot_param_importances(
                found.optuna, evaluator=evaluator, params=found.parameters
            )
        except UserWarning:
            return "The trials are too much alike in the objective to tell what matters."
    figure.update_traces(marker_color=COLOURS["best"])
    style(figure, 110 + 46 * len(found.parameters))
    figure.update_xaxes(title_text="share of the importance", range=[0, 1.12], tickformat=".0%")
    figure.update_yaxes(title_text="", automargin=True)
    return figure


def parallel_coordinates(results: Results, found: Searched) -> go.Figure | str:
    """Every complete trial as a line through its parameters, the better the bluer."""
    if not found.parameters or len(found.values) < 2:
        return "Parallel coordinates need a searched parameter and at least two complete trials."
    name = wording.title(results.metric)
    figure = visualization.plot_parallel_coordinate(
        found.optuna, params=found.parameters, target_name=name
    )
    *traces, bar = figure.data
    low, high = min(found.values), max(found.values)
    for trace, value in zip(traces, found.values, strict=True):  # a trace a complete trial
        place = (value - low) / (high - low) if high > low else 1.0
        place = place if results.mode == "max" else 1 - place
        [colour] = sample_colorscale(_SCALE, [place])
        trace.update(line={"color": colour, "width": 1 + 1.5 * place}, opacity=0.45 + 0.5 * place)
    bar.update(marker={"showscale": False})
    order = sorted(range(len(traces)), key=lambda i: found.values[i], reverse=results.mode == "min")
    figure.data = [*(traces[i] for i in order), bar]
    style(figure, 420)
    figure.update_xaxes(showgrid=False, zeroline=False)
    return figure


def slices(results: Results, found: Searched, drawn: Sequence[Line]) -> list[go.Figure]:
    """The objective by each parameter, a figure each."""
    figures = []
    name = wording.title(results.metric)
    for parameter in found.parameters:
        figure = visualization.plot_slice(found.optuna, params=[parameter], target_name=name)
        figure.update_traces(marker={"colorscale": _SCALE, "showscale": False, "size": 8})
        for line in drawn:
            value = line.contender.mean(results.metric)
            if line.kind not in ("best", "teacher") and math.isfinite(value):
                figure.add_hline(y=value, line={"color": line.colour, "width": 1.5, "dash": "dash"})
        style(figure, 320)
        figure.update_layout(showlegend=False)
        _as_metric(figure, results.metric)
        figures.append(figure)
    return figures


def pareto_front(results: Results, found: Searched) -> go.Figure | str:
    """The objectives against each other, for two or three of them."""
    names = [wording.title(metric) for metric in results.objectives]
    if len(names) not in (2, 3):
        return "A front is drawn for two or three objectives."
    if not found.all.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return "No trial is complete."
    figure = visualization.plot_pareto_front(found.all, target_names=names)
    dominated, front = figure.data
    dominated.update(marker={"color": "#9aa3ad", "showscale": False}, name="beaten")
    front.update(marker={"color": COLOURS["best"], "showscale": False, "size": 9}, name="front")
    style(figure, 420)
    if len(names) == 2:
        for metric, axis in zip(results.objectives, (figure.layout.xaxis, figure.layout.yaxis),
                                strict=True):
            axis.tickformat = ".1%" if wording.is_share(metric) else None
    return figure


def style(figure: go.Figure, height: int) -> None:
    """One look for all; colours of text and grid come from the page."""
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
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
    )


def _as_metric(figure: go.Figure, metric: str) -> None:
    figure.update_yaxes(
        title_text=wording.title(metric),
        tickformat=".0%" if wording.is_share(metric) else None,
        hoverformat=".2%" if wording.is_share(metric) else ".4g",
        automargin=True,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
