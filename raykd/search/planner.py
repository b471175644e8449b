"""The search: asks Optuna for cohorts of trials and tells it how they ended, in their order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from raykd.experiments.plan import CohortPlan, Role, TrialPlan
from raykd.search.samplers import make_sampler
from raykd.search.space import Space


@dataclass
class Outcome:
    """How a trial went.

    Attributes:
        state: `RUNNING`, `COMPLETE`, `PRUNED` or `FAIL`.
        values: The objectives after the last epoch.
        curve: The first objective after each epoch.
    """

    state: str = "RUNNING"
    values: list[float] = field(default_factory=list)
    curve: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchConfig:
    """What is searched, and how.

    Attributes:
        space: Distributions by name.
        modes: `max` or `min` for each objective.
        trials: Number of settings to try, the given ones among them.
        cohort: Students side by side, the references in the first cohort among them.
        given: Settings that come first, in their order.
        references: Not searched; they ride in the first cohort.
        method: Name of the method that is searched.
        sampler: One of `SAMPLERS`.
        seed: Of the suggestions.
        replicates: Cohorts that try the same settings with different seeds.
        concurrent: Cohorts at a time.
        in_order: Whether a cohort knows those before it in their order and no others.
    """

    space: Space
    modes: tuple[str, ...]
    trials: int
    cohort: int
    given: tuple[dict[str, Any], ...] = ()
    references: tuple[TrialPlan, ...] = ()
    method: str = ""
    sampler: str = "tpe"
    seed: int = 0
    replicates: int = 1
    concurrent: int = 1
    in_order: bool = True

    def cohorts(self) -> int:
        """Number of cohorts, each replicate one."""
        size = self.size(asked=0, beside=len(self.references))
        rest = self.trials - size
        return (1 + -(-rest // self.cohort)) * self.replicates

    def size(self, asked: int, beside: int) -> int:
        """Settings of the cohort that follows on `asked` of them, beside so many references."""
        return min(max(1, self.cohort - beside), self.trials - asked)


class Search:
    """Plans cohort after cohort.

    The same seed gives the same study however long each cohort takes: cohort k is asked for when
    the cohorts up to k − `concurrent` have been told, in their order, and no other; its sampler is
    seeded by (seed, k). So a study that was interrupted goes on as if it had not been.
    """

    def __init__(self, config: SearchConfig) -> None:
        self.config = config
        both = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
        directions = [both[mode] for mode in config.modes]
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna = optuna.create_study(directions=directions)
        self.plans: list[CohortPlan] = []
        self.outcomes: dict[str, Outcome] = {}
        self._told: set[str] = set()

    @property
    def asked(self) -> int:
        """Settings planned so far, the references not counted."""
        return sum(s.number is not None for plan in self.plans for s in plan.trials)

    def restore(self, plans: Sequence[CohortPlan]) -> None:
        """Takes up the plans of an earlier run, in their order."""
        for plan in plans:
            if plan.replicate == 0:
                self._advance()
                self.optuna.sampler = self._sampler(len(self.plans))
                for trial_plan in plan.trials:
                    if trial_plan.number is not None:
                        self._add(trial_plan)
                self.plans.append(plan)

    def next(self) -> list[CohortPlan] | None:
        """The next cohort with its replicates; None if it has to wait, [] if there is no more."""
        missing = list(self.config.references) if not self.plans else []
        size = self.config.size(self.asked, beside=len(missing))
        if size <= 0 and not missing:
            return []
        if not self._advance():
            return None
        number = len(self.plans)
        self.optuna.sampler = self._sampler(number)
        settings = missing + [self._ask() for _ in range(size)]
        plan = CohortPlan(f"c{number:04d}", tuple(settings))  # no trial's name: both name folders
        self.plans.append(plan)
        return [plan.replicated(r) for r in range(self.config.replicates)]

    def next_is_empty(self) -> bool:
        """Whether `next` has nothing more to plan."""
        return bool(self.plans) and self.asked >= self.config.trials

    def observe(self, trial: str, epoch: int, values: list[float], state: str) -> None:
        """Takes note of a trial's objectives after an epoch."""
        outcome = self.outcomes.setdefault(trial, Outcome())
        outcome.curve[epoch] = values[0]
        outcome.values = values
        outcome.state = state

    def fail(self, trial: str) -> None:
        """Takes note of a trial that failed without objectives to show for its last epoch."""
        self.outcomes.setdefault(trial, Outcome()).state = "FAIL"

    def has_ended(self, trial: str) -> bool:
        """Whether a trial has ended, however."""
        return self._outcome(trial).state != "RUNNING"

    def ended(self, plan: CohortPlan) -> bool:
        """Whether all trials of a cohort have ended."""
        return all(self.has_ended(trial_plan.trial) for trial_plan in plan.trials)

    def give_up(self, plan: CohortPlan) -> None:
        """Counts what has not ended in a cohort as failed, so that others need not wait for it."""
        for trial_plan in plan.trials:
            if not self.has_ended(trial_plan.trial):
                self.fail(trial_plan.trial)

    def finish(self) -> None:
        """Tells Optuna everything that is known."""
        for plan in self.plans:
            if plan.cohort not in self._told and self._tell(plan):
                self._told.add(plan.cohort)

    def _advance(self) -> bool:
        """Tells what the next cohort may know; False if some of it is not known yet."""
        if not self.config.in_order:
            for plan in self.plans:
                if plan.cohort not in self._told and self._tell(plan):
                    self._told.add(plan.cohort)
            return True
        for plan in self.plans[: max(0, len(self.plans) - self.config.concurrent + 1)]:
            if plan.cohort not in self._told:
                if not self._tell(plan):
                    return False
                self._told.add(plan.cohort)
        return True

    def _tell(self, plan: CohortPlan) -> bool:
        replicas = [plan.replicated(r) for r in range(self.config.replicates)]
        if not all(self.ended(replica) for replica in replicas):
            return False
        for i, trial_plan in enumerate(plan.trials):
            if trial_plan.number is not None:
                self._tell_one(
                    trial_plan.number, [self._outcome(r.trials[i].trial) for r in replicas]
                )
        return True

    def _tell_one(self, number: int, outcomes: list[Outcome]) -> None:
        states = {outcome.state for outcome in outcomes}
        if "FAIL" in states:
            self.optuna.tell(number, state=TrialState.FAIL)
            return
        trial = self.optuna.get_trials(deepcopy=False)[number]  # copies of all take seconds
        if len(self.config.modes) == 1:
            shared = set.intersection(*(set(outcome.curve) for outcome in outcomes))
            live = optuna.trial.Trial(self.optuna, trial._trial_id)
            for epoch in sorted(shared):
                live.report(fmean(outcome.curve[epoch] for outcome in outcomes), epoch)
        if "PRUNED" in states:
            self.optuna.tell(number, state=TrialState.PRUNED)
            return
        values = [fmean(column) for column in zip(*(o.values for o in outcomes), strict=True)]
        finite = all(math.isfinite(value) for value in values)
        self.optuna.tell(
            number,
            values if finite else None,
            state=TrialState.COMPLETE if finite else TrialState.FAIL,
        )

    def _ask(self) -> TrialPlan:
        number = self._known()
        given = number < len(self.config.given)
        if given:
            self.optuna.enqueue_trial(dict(self.config.given[number]))
        trial = self.optuna.ask(dict(self.config.space))
        assert trial.number == number
        role: Role = "first" if given else "search"
        return TrialPlan(f"{number:04d}", role, self.config.method, dict(trial.params), number)

    def _add(self, trial_plan: TrialPlan) -> None:
        """Takes up a trial that was asked for in an earlier run."""
        if self.config.sampler == "qmc":
            self._ask()  # the sequence's position is nowhere but in the asking
            return
        self.optuna.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params={name: trial_plan.config[name] for name in self.config.space},
                distributions=dict(self.config.space),
            )
        )

    def _known(self) -> int:
        return len(self.optuna.get_trials(deepcopy=False))

    def _sampler(self, cohort: int) -> optuna.samplers.BaseSampler:
        config = self.config
        return make_sampler(config.sampler, seed=config.seed, cohort=cohort, trials=config.trials)

    def _outcome(self, trial: str) -> Outcome:
        return self.outcomes.get(trial, Outcome())
