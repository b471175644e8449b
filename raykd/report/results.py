"""Results of a study: its settings with their replicates, and the rows of the comparison."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from raykd.report import formatting
from raykd.store import StoreError, Study, Trial
from raykd.store.spec import objective

Kind = Literal["teacher", "plain", "reference", "given", "best"]

_STATES = ("FAIL", "PRUNED", "RUNNING", "COMPLETE")  # by precedence among replicates


@dataclass(frozen=True)
class Contender:
    """One setting of the hyperparameters: its trial, or its replicates with other seeds.

    Attributes:
        name: Name of the trial with the first seed.
        trials: One trial per seed.
    """

    name: str
    trials: tuple[Trial, ...]

    @property
    def role(self) -> str:
        """Role in the study: `search`, `first` (a given setting), `reference` or `teacher`."""
        return self.trials[0].role

    @property
    def config(self) -> dict[str, Any]:
        """Hyperparameters by name, the same for all its trials."""
        return self.trials[0].config

    @property
    def state(self) -> str:
        """State of its trials; if they differ, the first of `FAIL`, `PRUNED` and `RUNNING`."""
        states = {trial.state for trial in self.trials}
        return next(state for state in _STATES if state in states)

    @property
    def reason(self) -> str:
        """Reasons why its trials ended early, joined by "; "; "" if none is known."""
        return "; ".join(dict.fromkeys(trial.reason for trial in self.trials if trial.reason))

    def values(self, metric: str) -> list[float]:
        """Returns a metric, `params` or `cost_<name>` of each trial after its last epoch.

        The value is NaN for a trial that lacks the metric or is not complete: what a trial reported
        before it was pruned or failed is not what its setting achieves.
        """
        found = []
        for trial in self.trials:
            if trial.state != "COMPLETE":
                found.append(math.nan)
                continue
            fallback: float | None = trial.cost.get(metric.removeprefix("cost_"))
            if metric == "params":
                fallback = trial.params
            value = trial.metrics.get(metric, fallback)
            found.append(math.nan if value is None else float(value))
        return found

    def mean(self, metric: str) -> float:
        """Returns the mean over the trials after the last epoch; NaN if a trial has no value.

        Leaving out failed trials would favour settings that fail often.
        """
        return fmean(self.values(metric))

    def std(self, metric: str) -> float | None:
        """Returns the standard deviation over the trials; None for one trial or a missing value."""
        values = self.values(metric)
        if len(values) < 2 or not all(map(math.isfinite, values)):
            return None
        return stdev(values)

    def text(self, metric: str) -> str:
        """Formats a metric after the last epoch, with its deviation; "" if there is no value."""
        return formatting.value(metric, self.mean(metric), self.std(metric))

    def text_or_state(self, metric: str) -> str:
        """Formats a metric like `text`, or without a value the state and how many seeds have it."""
        if (text := self.text(metric)) or self.state == "COMPLETE":
            return text or "none"
        word = formatting.STATES[self.state]
        count = sum(trial.state == self.state for trial in self.trials)
        return word if len(self.trials) == 1 else f"{word} ({count} of {len(self.trials)} seeds)"

    def gain(self, other: "Contender", metric: str) -> str:
        """Formats the difference between this and another contender in the mean of a metric."""
        return formatting.gain(metric, self.mean(metric) - other.mean(metric))

    def best_text(self, metric: str) -> str:
        """Formats a metric at the best epoch, with that epoch in brackets; "" if not complete."""
        best = [trial.best.get(metric, math.nan) for trial in self.trials]
        epochs = sorted({trial.best_epoch for trial in self.trials if trial.best_epoch})
        if self.state != "COMPLETE" or not epochs or not math.isfinite(fmean(best)):
            return ""
        span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
        return f"{formatting.value(metric, fmean(best))} ({span})"

    def as_dict(self) -> dict[str, Any]:
        """Returns all data for JSON: means, standard deviations and each trial."""
        metrics = dict.fromkeys(name for trial in self.trials for name in trial.metrics)
        spread = {name: self.std(name) for name in metrics}
        return {
            "name": self.name,
            "role": self.role,
            "method": self.trials[0].method,
            "state": self.state,
            "config": self.config,
            "metrics": {name: self.mean(name) for name in metrics},
            "std": {name: std for name, std in spread.items() if std is not None},
            "trials": [asdict(trial) for trial in self.trials],
        }


@dataclass(frozen=True)
class Compared:
    """A row of the comparison: its kind, its name in tables and plots, and the setting."""

    kind: Kind
    label: str
    contender: Contender


class Results:
    """The settings of a study, ranked and prepared for tables and plots.

    Args:
        study: Stored study.

    Attributes:
        spec: Specification of the study, the content of `study.json`.
        metric: First objective that is reported after each epoch.
        mode: Mode of `metric`, `max` or `min`.
        objectives: Mode of each objective by name.
        contenders: All settings, including teacher and references.
    """

    def __init__(self, study: Study) -> None:
        self.study, self.spec = study, study.spec
        self.metric, self.mode = objective(study.spec)
        self.objectives: dict[str, str] = dict(
            zip(study.spec["metric"], study.spec["mode"], strict=True)
        )
        groups: dict[str, list[Trial]] = {}
        for trial in study.all_trials():
            groups.setdefault(_first_seed(trial), []).append(trial)
        self.contenders = [
            Contender(name, tuple(sorted(trials, key=lambda t: t.seed)))
            for name, trials in groups.items()
        ]

    @property
    def searched(self) -> list[Contender]:
        """Settings that compete: searched and given ones."""
        return [c for c in self.contenders if c.role in ("search", "first")]

    def ranked(self, metric: str | None = None, mode: str | None = None) -> list[Contender]:
        """Returns the complete competing settings, best first by their mean after the last epoch.

        Args:
            metric: A metric, `params` or `cost_<name>`; by default the study's first objective.
            mode: `"max"` or `"min"`; by default the study's mode, if the metric is an objective.

        Raises:
            StoreError: No trial has the metric, or its mode is neither given nor known.
        """
        metric = metric or self.metric
        sign = self._sign(metric, mode)
        rated = [(sign * c.mean(metric), c) for c in self._complete()]
        return [c for value, c in sorted(rated, key=lambda r: -r[0]) if math.isfinite(value)]

    def pareto(self, objectives: Mapping[str, str | None]) -> list[Contender]:
        """Returns the Pareto front of the complete competing settings.

        Args:
            objectives: Mode by metric, `params` or `cost_<name>`; None for the study's mode.

        Raises:
            StoreError: No trial has a metric, or its mode is neither given nor known.
        """
        signs = {metric: self._sign(metric, mode) for metric, mode in objectives.items()}
        rated = []
        for contender in self._complete():
            point = tuple(sign * contender.mean(metric) for metric, sign in signs.items())
            if all(map(math.isfinite, point)):
                rated.append((point, contender))
        front: list[tuple[tuple[float, ...], Contender]] = []
        for point, contender in sorted(rated, key=lambda r: r[0], reverse=True):
            if not any(_beats(other, point) for other, _ in front):
                front.append((point, contender))
        return [contender for _, contender in front]

    def compared(self) -> list[Compared]:
        """Returns the rows of the comparison: teacher, references, given settings, best setting."""
        rows = [
            Compared(_kind(contender), self.label(contender), contender)
            for contender in self.contenders
            if contender.role != "search"
        ]
        order = ("teacher", "plain", "reference", "given")
        rows.sort(key=lambda row: order.index(row.kind))
        if ranked := self.ranked():
            label = f"{self.method}, best of {len(self.searched)} ({ranked[0].name})"
            rows.append(Compared("best", label, ranked[0]))
        return rows

    @property
    def method(self) -> str:
        """Name of the searched distillation method."""
        described = self.spec.get("method", {}).get("name")
        return described or self.spec.get("method_name") or "method"

    @property
    def subject(self) -> str:
        """Summary of the study: method, teacher, student and data."""
        teacher = self.spec.get("teacher", {}).get("model", {}).get("name")
        student = self.spec.get("student", {}).get("name")
        data = self.spec.get("data", {}).get("name")
        pair = f", {teacher} teaches {student}" if teacher and student else ""
        return self.method + pair + (f" on {data}" if data else "")

    @property
    def progress(self) -> str:
        """Summary of the search: number of competing settings, by state."""
        counts = Counter(contender.state for contender in self.searched)
        ends = ", ".join(
            f"{counts[s]:,} {word}" for s, word in formatting.STATES.items() if counts[s]
        )
        seeds = max((len(c.trials) for c in self.searched), default=1)
        each = f" with {seeds} seeds each" if seeds > 1 else ""
        total = formatting.counted(len(self.searched), "trial") + each
        return f"{total}: {ends}" if ends else total

    def label(self, contender: Contender) -> str:
        """Returns the name of a setting in tables and plots."""
        trial = contender.trials[0]
        match contender.role:
            case "teacher":
                return "teacher"
            case "reference":
                described = [r.get("name", "") for r in self.spec.get("references", [])]
                names = {name.lower(): name for name in described}
                name = "plain student" if trial.method == "vanilla" else names.get(trial.method)
                settings = f" ({formatting.settings(trial.config)})" if trial.config else ""
                return f"{name or trial.method}{settings}"
            case "first":
                given = self.spec.get("first", [])
                own = trial.number < len(given) and not given[trial.number]
                what = "paper's setting" if own else f"given ({contender.name})"
                return f"{self.method}, {what}"
            case _:
                return f"{self.method}, trial {contender.name}"

    def _complete(self) -> list[Contender]:
        return [c for c in self.searched if c.state == "COMPLETE"]

    def _sign(self, metric: str, mode: str | None) -> float:
        """Returns 1 if a larger value of the metric is better, else −1; raises `StoreError`."""
        names = {name for c in self.contenders for trial in c.trials for name in trial.metrics}
        costs = {f"cost_{name}" for c in self.contenders for t in c.trials for name in t.cost}
        known = names | costs | {"params", *self.objectives}
        if metric not in known:
            raise StoreError(f"no trial has a metric {metric!r}; known: {', '.join(sorted(known))}")
        mode = mode or self.objectives.get(metric)
        if mode not in ("max", "min"):
            raise StoreError(f"mode of {metric!r} is {mode!r}; give 'max' or 'min'")
        return 1.0 if mode == "max" else -1.0


def _beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Returns True if `a` dominates `b`: nowhere worse and somewhere better; larger is better."""
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def _kind(contender: Contender) -> Kind:
    if contender.role == "reference":
        return "plain" if contender.trials[0].method == "vanilla" else "reference"
    return "teacher" if contender.role == "teacher" else "given"


def _first_seed(trial: Trial) -> str:
    """Returns the name of the replicate with the first seed; cohort `0001-s2` has the third."""
    _, suffix, replicate = trial.cohort.partition("-s")
    return trial.id.removesuffix(suffix + replicate) if suffix else trial.id
