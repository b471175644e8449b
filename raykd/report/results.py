"""What a study found: its settings with their replicates, and the few that are set side by side."""

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

_STATES = ("FAIL", "PRUNED", "RUNNING", "COMPLETE")  # of replicates, the first found counts


@dataclass(frozen=True)
class Contender:
    """One setting of the hyperparameters: its trial, or its replicates with other seeds.

    Attributes:
        name: Of the trial with the first seed.
        trials: One a seed.
    """

    name: str
    trials: tuple[Trial, ...]

    @property
    def role(self) -> str:
        """As in the store: `search`, `first`, `reference` or `teacher`."""
        return self.trials[0].role

    @property
    def config(self) -> dict[str, Any]:
        """The setting, the same for all its trials."""
        return self.trials[0].config

    @property
    def state(self) -> str:
        """`COMPLETE` if all its trials are."""
        states = {trial.state for trial in self.trials}
        return next(state for state in _STATES if state in states)

    @property
    def reason(self) -> str:
        """Why it ended early, where that is known."""
        return "; ".join(dict.fromkeys(trial.reason for trial in self.trials if trial.reason))

    def values(self, metric: str) -> list[float]:
        """A metric, `params` or `cost_<name>` of each trial after the last epoch.

        NaN for a trial that has none, and for one that is not complete: what it reported before it
        was dropped, or with the weights that it failed with, is not what the setting achieves.
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
        """The mean over the trials after the last epoch; NaN if one has none.

        Without the trials that failed it would flatter settings that fail often.
        """
        return fmean(self.values(metric))

    def std(self, metric: str) -> float | None:
        """The standard deviation over the trials; None for a single one."""
        values = self.values(metric)
        if len(values) < 2 or not all(map(math.isfinite, values)):
            return None
        return stdev(values)

    def text(self, metric: str) -> str:
        """A metric after the last epoch, in words; "" if there is none."""
        return formatting.value(metric, self.mean(metric), self.std(metric))

    def text_or_state(self, metric: str) -> str:
        """The same, or in what state it is without one; of replicates, how many are."""
        if (text := self.text(metric)) or self.state == "COMPLETE":
            return text or "none"
        word = formatting.STATES[self.state]
        count = sum(trial.state == self.state for trial in self.trials)
        return word if len(self.trials) == 1 else f"{word} ({count} of {len(self.trials)} seeds)"

    def gain(self, other: "Contender", metric: str) -> str:
        """The difference of a metric to another's, in words."""
        return formatting.gain(metric, self.mean(metric) - other.mean(metric))

    def best_text(self, metric: str) -> str:
        """A metric at the best epoch, the epoch beside it."""
        best = [trial.best.get(metric, math.nan) for trial in self.trials]
        epochs = sorted({trial.best_epoch for trial in self.trials if trial.best_epoch})
        if self.state != "COMPLETE" or not epochs or not math.isfinite(fmean(best)):
            return ""
        span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
        return f"{formatting.value(metric, fmean(best))} ({span})"

    def as_dict(self) -> dict[str, Any]:
        """Everything about it, for JSON: means and deviations, then each trial."""
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
    """One row of the comparison."""

    kind: Kind
    label: str
    contender: Contender


class Results:
    """A study's settings.

    Args:
        study: As stored.

    Attributes:
        metric: The first objective that epochs report.
        mode: Its mode.
        contenders: All settings, the teacher and the references among them.
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
        """The settings that compete: searched and given ones."""
        return [c for c in self.contenders if c.role in ("search", "first")]

    def ranked(self, metric: str | None = None, mode: str | None = None) -> list[Contender]:
        """The complete competing settings, best first by their mean after the last epoch.

        Raises:
            StoreError: No trial has the metric, or its mode is needed.
        """
        metric = metric or self.metric
        sign = self._sign(metric, mode)
        rated = [(sign * c.mean(metric), c) for c in self._complete()]
        return [c for value, c in sorted(rated, key=lambda r: -r[0]) if math.isfinite(value)]

    def pareto(self, objectives: Mapping[str, str | None]) -> list[Contender]:
        """The complete competing settings that no other beats in every objective."""
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
        """The teacher, the references, the given settings and the best one found."""
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
        """The searched method's name."""
        described = self.spec.get("method", {}).get("name")
        return described or self.spec.get("method_name") or "method"

    @property
    def subject(self) -> str:
        """Who teaches whom by what."""
        teacher = self.spec.get("teacher", {}).get("model", {}).get("name")
        student = self.spec.get("student", {}).get("name")
        data = self.spec.get("data", {}).get("name")
        pair = f", {teacher} teaches {student}" if teacher and student else ""
        return self.method + pair + (f" on {data}" if data else "")

    @property
    def progress(self) -> str:
        """How many settings there are and how they ended."""
        counts = Counter(contender.state for contender in self.searched)
        ends = ", ".join(
            f"{counts[s]:,} {word}" for s, word in formatting.STATES.items() if counts[s]
        )
        seeds = max((len(c.trials) for c in self.searched), default=1)
        each = f" with {seeds} seeds each" if seeds > 1 else ""
        total = formatting.counted(len(self.searched), "trial") + each
        return f"{total}: {ends}" if ends else total

    def label(self, contender: Contender) -> str:
        """What a setting is called in tables and plots."""
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
        """1 where more is better, else −1."""
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
    """Whether `a` is nowhere worse than `b` and somewhere better; more is better."""
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def _kind(contender: Contender) -> Kind:
    if contender.role == "reference":
        return "plain" if contender.trials[0].method == "vanilla" else "reference"
    return "teacher" if contender.role == "teacher" else "given"


def _first_seed(trial: Trial) -> str:
    """The name of a trial's replicate with the first seed; cohort `0001-s2` holds the third."""
    _, suffix, replicate = trial.cohort.partition("-s")
    return trial.id.removesuffix(suffix + replicate) if suffix else trial.id
