"""Plots the searched trials with Optuna's visualisations, in the style of the page."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna import visualization
from optuna.distributions import CategoricalDistribution, json_to_distribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from plotly.colors import sample_colorscale

from raykd.report import formatting
from raykd.report.plots import COLOURS, FAINT, Line, across, label_axis, style
from raykd.report.results import Results

_SCALE = [[0.0, "#a3abb5"], [0.5, "#6ea0d4"], [1.0, COLOURS["best"]]]  # legible on light and dark
MOST_LINES = 300  # maximum number of trials drawn in parallel coordinates
_LABEL = 14  # maximum length in characters of a label beside an axis of parallel coordinates
_TOP = 5  # trials that PED-ANOVA should find above its quantile, as Optuna advises


@dataclass(frozen=True)
class Searched:
    """The competing settings as Optuna studies; a setting's value is the mean over its seeds.

    Names and texts are escaped, because Plotly interprets some HTML tags, such as links.

    Attributes:
        first: Study with the first objective only.
        all: Study with all objectives.
        parameters: Names of the searched hyperparameters that complete trials have, without those
            whose distribution has a single value.
        values: First objective of the complete trials.
    """

    first: optuna.Study
    all: optuna.Study
    parameters: list[str]
    values: list[float]

    @property
    def opacity(self) -> float:
        """Opacity of a trial's marker, lower for many trials, so that they do not hide lines."""
        return max(0.2, min(1.0, 200 / (1 + len(self.values))))


def searched(results: Results) -> Searched:
    """Converts the competing settings of a study to Optuna studies."""
    objectives = {results.metric: results.mode}
    single = _as_optuna(results, objectives)
    several = single if len(results.objectives) == 1 else _as_optuna(results, results.objectives)
    complete = single.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    named = sorted({name for trial in complete for name in trial.params})
    space = results.spec.get("space", {})
    fixed = {escape(n) for n, text in space.items() if json_to_distribution(text).single()}
    free = [name for name in named if name not in fixed]
    return Searched(single, several, free, [float(trial.values[0]) for trial in complete])


def _as_optuna(results: Results, objectives: dict[str, str]) -> optuna.Study:
    directions = [
        StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE
        for mode in objectives.values()
    ]
    stored = results.study.to_optuna().get_trials(deepcopy=False)
    known = {trial.user_attrs["trial"]: trial for trial in stored}
    with _quiet():
        made = optuna.create_study(directions=directions, study_name=results.study.name)
    for contender in results.searched:
        values = [contender.mean(metric) for metric in objectives]
        complete = contender.state == "COMPLETE" and all(map(math.isfinite, values))
        lost = contender.state in ("PRUNED", "FAIL")
        ended = TrialState.PRUNED if lost else TrialState.FAIL
        trial = known[contender.trials[0].id]
        made.add_trial(
            create_trial(
                state=TrialState.COMPLETE if complete else ended,
                values=values if complete else None,
                params={escape(name): _escaped(item) for name, item in trial.params.items()},
                distributions={
                    escape(name): CategoricalDistribution([*map(_escaped, item.choices)])
                    if isinstance(item, CategoricalDistribution)
                    else item
                    for name, item in trial.distributions.items()
                },
            )
        )
    return made


def _escaped(item: Any) -> Any:
    return escape(item) if isinstance(item, str) else item


@contextmanager
def _quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def history(results: Results, found: Searched, drawn: Sequence[Line]) -> go.Figure | str:
    """Plots the objective by trial and the best value so far, or says why that is impossible."""
    if not found.values:
        return "No trial is complete."
    name = escape(formatting.title(results.metric))
    figure = visualization.plot_optimization_history(found.first, target_name=name)
    figure.data[0].update(name="trials", marker={"color": FAINT, "size": 7}, opacity=found.opacity)
    figure.data[1].update(
        name="best so far", line={"color": COLOURS["best"], "width": 2.5, "shape": "hv"}
    )
    number = len(found.first.get_trials(deepcopy=False))
    span = [-0.5, number - 0.5]
    for line in drawn:
        if line.kind != "best" and math.isfinite(line.contender.mean(results.metric)):
            figure.add_trace(across(line, results.metric, span))
    style(figure, 420)
    figure.update_xaxes(title_text="trial", range=span, dtick=1 if number <= 10 else None)
    label_axis(figure, results.metric)
    return figure


def importance(found: Searched) -> go.Figure | str:
    """Plots PED-ANOVA importances of the hyperparameters, or says why that is impossible."""
    if len(found.parameters) < 2:
        return "Importance compares parameters: it needs at least two that were searched."
    ended = _ranked(found)
    number = len(ended.get_trials(deepcopy=False))
    if number < 2 * _TOP or not found.values:
        return f"Importance needs at least {2 * _TOP} trials that have ended; there are {number}."
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, _TOP / number))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Target and region quantiles select the same", UserWarning)
        try:
            figure = visualization.plot_param_importances(
                ended, evaluator=evaluator, params=found.parameters
            )
        except UserWarning:
            return "The trials are too much alike in the objective to tell what matters."
    figure.update_traces(marker_color=COLOURS["best"])
    style(figure, 110 + 46 * len(found.parameters))
    figure.update_xaxes(title_text="share of the importance", range=[0, 1.12], tickformat=".0%")
    figure.update_yaxes(title_text="")
    return figure


def _ranked(found: Searched) -> optuna.Study:
    """Returns a study of the ended trials; pruned and failed ones get the worst complete value."""
    direction = found.first.direction
    worst = (min if direction == StudyDirection.MAXIMIZE else max)(found.values, default=0.0)
    with _quiet():
        made = optuna.create_study(direction=direction)
    for trial in found.first.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if set(found.parameters) <= set(trial.params):
            value = trial.value if trial.state == TrialState.COMPLETE else worst
            copy = create_trial(value=value, params=trial.params, distributions=trial.distributions)
            made.add_trial(copy)
    return made


def parallel_coordinates(results: Results, found: Searched) -> go.Figure | str:
    """Plots complete trials as lines, best ones bluest, or says why that is impossible.

    Only the best `MOST_LINES` trials are drawn.
    """
    if not found.parameters or len(found.values) < 2:
        return "Parallel coordinates need a searched parameter and at least two complete trials."
    name = escape(formatting.title(results.metric)).replace(" ", "<br>", 1)
    shown = found.first.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    shown.sort(key=lambda trial: trial.values[0], reverse=results.mode == "max")
    shown = shown[:MOST_LINES]
    with _quiet():
        best = optuna.create_study(direction=found.first.direction)
    best.add_trials(shown)
    params = [name for name in found.parameters if any(name in trial.params for trial in shown)]
    figure = visualization.plot_parallel_coordinate(best, params=params, target_name=name)
    *traces, bar = figure.data  # one trace per trial, in Optuna's order
    alike = shown[0].values[0] == shown[-1].values[0]

    def goodness(trace: go.Scatter) -> float:
        """Returns 0 for the worst and 1 for the best trial, read from the first axis."""
        if alike:
            return 1.0
        return float(trace.y[0] if results.mode == "max" else 1 - trace.y[0])

    traces.sort(key=goodness)  # draws the best last, above the others
    figure.data = (*traces, bar)
    for trace in traces:
        place = min(1.0, max(0.0, goodness(trace)))
        [colour] = sample_colorscale(_SCALE, [place])
        strong = place**3  # cubed, because most trials lie near the best
        trace.update(line={"color": colour, "width": 1 + 1.5 * strong}, opacity=0.4 + 0.55 * strong)
    bar.update(marker={"showscale": False})
    for label in figure.layout.annotations:
        label.xanchor, label.xshift = "center", 0
        if label.x == 0 and formatting.is_share(results.metric):
            label.text = f"{float(label.text):.1%}"
        elif len(label.text) > _LABEL:
            label.text = f"{label.text[: _LABEL - 1]}…"
    style(figure, 420)
    figure.update_layout(margin={"l": 48, "r": 48})
    figure.update_xaxes(showgrid=False, zeroline=False)
    return figure


def slices(results: Results, found: Searched, drawn: Sequence[Line]) -> list[go.Figure]:
    """Plots the objective by hyperparameter, one figure per hyperparameter."""
    figures = []
    name = escape(formatting.title(results.metric))
    for parameter in found.parameters:
        figure = visualization.plot_slice(found.first, params=[parameter], target_name=name)
        figure.update_traces(
            marker={"colorscale": _SCALE, "showscale": False, "size": 8}, opacity=found.opacity
        )
        for line in drawn:
            value = line.contender.mean(results.metric)
            if line.kind not in ("best", "teacher") and math.isfinite(value):
                figure.add_hline(y=value, line={"color": line.colour, "width": 1.5, "dash": "dash"})
        style(figure, 320)
        label_axis(figure, results.metric)
        if figure.layout.xaxis.type == "log":
            ticks = _log_ticks([x for trace in figure.data for x in trace.x])
            figure.update_xaxes(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
        figures.append(figure)
    return figures


def _log_ticks(values: Sequence[float]) -> list[float]:
    """Returns ticks of a logarithmic axis: powers of ten, or 1-2-5 steps below two decades."""
    low, high = math.log10(min(values)), math.log10(max(values))
    steps = (1, 2, 5) if high - low < 2 else (1,)
    decades = range(math.floor(low) - 1, math.ceil(high) + 2)
    return [step * 10.0**decade for decade in decades for step in steps]


def pareto_front(results: Results, found: Searched) -> go.Figure | str:
    """Plots two or three objectives against each other, or says why that is impossible."""
    names = [escape(formatting.title(metric)) for metric in results.objectives]
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
        for metric, axis in zip(
            results.objectives, (figure.layout.xaxis, figure.layout.yaxis), strict=True
        ):
            axis.tickformat = ".2~%" if formatting.is_share(metric) else None
    return figure
