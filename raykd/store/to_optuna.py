"""Converts a stored study to an in-memory study of Optuna."""

import math
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import optuna
import pyarrow as pa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from raykd.store.spec import objective
from raykd.store.trials import Trial, to_trial

_LARGEST = 10**300  # bound of the magnitude of a number, so that a float can hold it
_CHOICES = (bool, int, float, str)  # types of categorical choices that Optuna supports


def to_optuna(
    name: str, spec: dict[str, Any], trials_table: pa.Table, metrics: pa.Table
) -> optuna.Study:
    """Returns an Optuna study of the trials in the roles `search` and `first`, sorted by number.

    User attributes of a trial are `trial, cohort, role, method, seed, config, metrics` and, if
    there is one, `reason`. A complete trial with an objective that is not finite becomes a failed
    one, as Optuna requires.

    Args:
        name: Name of the study.
        spec: Specification of the study, the content of `study.json`.
        trials_table: Table with one row per trial, including the column `config`.
        metrics: Metrics in long form: `trial, epoch, name, value`.
    """
    rows = [row for row in trials_table.to_pylist() if row["role"] in ("search", "first")]
    trials = [to_trial(row) for row in rows]
    space = {
        name: _covering(
            optuna.distributions.json_to_distribution(text),
            [trial.config[name] for trial in trials if name in trial.config],
        )
        for name, text in spec.get("space", {}).items()
    }
    metric, _ = objective(spec)
    curves: dict[str, dict[int, float]] = {}
    for row in metrics.to_pylist():
        if row["name"] == metric:
            curves.setdefault(row["trial"], {})[row["epoch"]] = row["value"]
    directions = [
        StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE
        for mode in spec["mode"]
    ]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # no "A new study created in memory"
    try:
        made = optuna.create_study(study_name=name, directions=directions)
    finally:
        optuna.logging.set_verbosity(verbosity)
    for row, trial in zip(rows, trials, strict=True):
        values = [_value(trial, name) for name in spec["metric"]]
        made.add_trial(_frozen(trial, row["time"], space, values, curves.get(trial.id, {})))
    return made


def _frozen(
    trial: Trial,
    began: str,
    space: dict[str, BaseDistribution],
    values: list[float],
    curve: dict[int, float],
) -> FrozenTrial:
    """Converts a trial to a frozen trial of Optuna."""
    finite = all(map(math.isfinite, values))
    state = TrialState[trial.state]
    if state == TrialState.COMPLETE and not finite:
        state = TrialState.FAIL
    known = {
        name: item
        for name, item in space.items()
        if name in trial.config and _contains(item, trial.config[name])
    }
    attributes: dict[str, Any] = {
        "trial": trial.id,
        **{key: getattr(trial, key) for key in ("cohort", "role", "method", "seed", "config")},
        "metrics": trial.metrics,
        **({"reason": trial.reason} if trial.reason else {}),
    }
    told = state == TrialState.COMPLETE or (state == TrialState.PRUNED and finite)
    frozen = create_trial(
        state=state,
        values=values if told else None,
        params={name: trial.config[name] for name in known},
        distributions=known,
        user_attrs=attributes,
        intermediate_values=curve,
    )
    with suppress(ValueError, OverflowError):  # a store may contain invalid times
        frozen.datetime_start = datetime.fromisoformat(began).replace(tzinfo=None)
        if state.is_finished():
            seconds = timedelta(seconds=trial.cost.get("seconds", 0.0))
            frozen.datetime_complete = frozen.datetime_start + seconds
    return frozen


def _value(trial: Trial, metric: str) -> float:
    """Returns an objective's value after the last epoch; NaN if there is none."""
    if metric in trial.metrics:
        return trial.metrics[metric]
    if metric == "params":
        return float("nan") if trial.params is None else float(trial.params)
    return trial.cost.get(metric.removeprefix("cost_"), float("nan"))


def _covering(distribution: BaseDistribution, values: list[Any]) -> BaseDistribution:
    """Returns the distribution, widened so that it contains all the values.

    A given setting, such as the paper's, may lie outside the search space, and Optuna computes
    importances only for parameters that have the same distribution in all trials.
    """
    outside: list[Any] = []
    for value in values:
        if not _contains(distribution, value) and value not in outside:
            outside.append(value)
    if isinstance(distribution, FloatDistribution | IntDistribution):
        outside = [value for value in outside if _is_finite(value)]
    if not outside:
        return distribution
    if isinstance(distribution, CategoricalDistribution):
        choices = [item for item in outside if item is None or isinstance(item, _CHOICES)]
        return CategoricalDistribution((*distribution.choices, *choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = min(distribution.low, *outside), max(distribution.high, *outside)
    log = distribution.log and low > 0
    if isinstance(distribution, IntDistribution) and all(float(v).is_integer() for v in outside):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return _is_finite(value) and bool(distribution._contains(float(value)))


def _is_finite(value: Any) -> bool:
    """Returns True for a finite number that a float, and so Optuna, can hold."""
    return isinstance(value, int | float) and abs(value) < _LARGEST
