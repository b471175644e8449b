"""The search: asks Optuna for cohorts of trials and tells it their results in a fixed order."""

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
    """The result of a trial so far.

    Attributes:
        state: `RUNNING`, `COMPLETE`, `PRUNED` or `FAIL`.
        values: Values of the objectives after the last epoch, in the order of the objectives.
        curve: Value of the first objective after each epoch, by the epoch's number.
    """

    state: str = "RUNNING"
    values: list[float] = field(default_factory=list)
    curve: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchConfig:
    """Settings of a search.

    Attributes:
        space: Search space: Optuna distributions by name.
        modes: `max` or `min` for each objective.
        trials: Number of settings to try, including the given ones.
        cohort: Number of students of a cohort; in the first cohort they include the references.
        given: Settings to try first, in this order.
        references: Trials that are not searched; they are trained in the first cohort.
        method: Name of the method that is searched.
        sampler: Name of the sampler, one of `SAMPLERS`.
        seed: Seed of the suggestions.
        replicates: Number of cohorts that try the same settings with different seeds; Optuna gets
            the mean of their objectives.
        concurrent: Number of cohorts that are trained at the same time.
        in_order: True to suggest a cohort only from the results of a fixed set of earlier cohorts
            (see `Search`), so that a study is reproducible; False to use all results at hand.
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
        """Returns the total number of cohorts; each replicate counts as one."""
        size = self.size(asked=0, beside=len(self.references))
        rest = self.trials - size
        return (1 + -(-rest // self.cohort)) * self.replicates

    def size(self, asked: int, beside: int) -> int:
        """Returns the number of settings in the next cohort.

        Args:
            asked: Number of settings planned so far.
            beside: Number of references that are trained in the same cohort.
        """
        return min(max(1, self.cohort - beside), self.trials - asked)


class Search:
    """Plans one cohort after another and records their results in an in-memory Optuna study.

    With `in_order`, the same seed gives the same study however long each cohort takes: cohort k is
    suggested when Optuna has the results of the cohorts up to k − `concurrent`, in their order,
    and of no others, and its sampler is seeded by (seed, k). So an interrupted study resumes as if
    it had not been interrupted.

    Args:
        config: Settings of the search.

    Attributes:
        optuna: The Optuna study.
        plans: Plans of all cohorts so far, without their replicates.
        outcomes: Results of the trials so far, replicates included, by trial name.
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
        """Number of settings planned so far, without references."""
        return sum(s.number is not None for plan in self.plans for s in plan.trials)

    def restore(self, plans: Sequence[CohortPlan]) -> None:
        """Restores the plans of an earlier run, given in their order.

        Call `observe` and `fail` with the earlier results first.
        """
        for plan in plans:
            if plan.replicate == 0:
                self._advance()
                self.optuna.sampler = self._sampler(len(self.plans))
                for trial_plan in plan.trials:
                    if trial_plan.number is not None:
                        self._add(trial_plan)
                self.plans.append(plan)

    def next(self) -> list[CohortPlan] | None:
        """Plans the next cohort.

        Returns:
            The cohort's plan and those of its replicates; None if it has to wait for the results
            of earlier cohorts; an empty list if there are no more cohorts.
        """
        missing = list(self.config.references) if not self.plans else []
        size = self.config.size(self.asked, beside=len(missing))
        if size <= 0 and not missing:
            return []
        if not self._advance():
            return None
        number = len(self.plans)
        self.optuna.sampler = self._sampler(number)
        settings = missing + [self._ask() for _ in range(size)]
        plan = CohortPlan(
            f"c{number:04d}", tuple(settings)
        )  # differs from every trial's name, as both name folders
        self.plans.append(plan)
        return [plan.replicated(r) for r in range(self.config.replicates)]

    def next_is_empty(self) -> bool:
        """Returns True if `next` has no more cohorts to plan."""
        return bool(self.plans) and self.asked >= self.config.trials

    def observe(self, trial: str, epoch: int, values: list[float], state: str) -> None:
        """Records a trial's result after an epoch.

        Args:
            trial: Name of the trial.
            epoch: Number of the epoch.
            values: Values of the objectives.
            state: `RUNNING`, `COMPLETE`, `PRUNED` or `FAIL`.
        """
        outcome = self.outcomes.setdefault(trial, Outcome())
        outcome.curve[epoch] = values[0]
        outcome.values = values
        outcome.state = state

    def fail(self, trial: str) -> None:
        """Records the failure of a trial that has no objectives for its last epoch."""
        self.outcomes.setdefault(trial, Outcome()).state = "FAIL"

    def has_ended(self, trial: str) -> bool:
        """Returns True if a trial has completed, was pruned or has failed."""
        return self._outcome(trial).state != "RUNNING"

    def ended(self, plan: CohortPlan) -> bool:
        """Returns True if all trials of a cohort have ended."""
        return all(self.has_ended(trial_plan.trial) for trial_plan in plan.trials)

    def give_up(self, plan: CohortPlan) -> None:
        """Records a cohort's unfinished trials as failed, so that other cohorts need not wait."""
        for trial_plan in plan.trials:
            if not self.has_ended(trial_plan.trial):
                self.fail(trial_plan.trial)

    def finish(self) -> None:
        """Tells Optuna the results of all cohorts that have ended, whatever their order."""
        for plan in self.plans:
            if plan.cohort not in self._told and self._tell(plan):
                self._told.add(plan.cohort)

    def _advance(self) -> bool:
        """Tells Optuna the results on which the next cohort's suggestions are based.

        Returns:
            True if they are complete; False if a cohort that has to come first has not ended.
        """
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
        trial = self.optuna.get_trials(deepcopy=False)[
            number
        ]  # copying all trials would take seconds
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
        """Adds a trial that was suggested in an earlier run to the Optuna study."""
        if self.config.sampler == "qmc":
            self._ask()  # asking is the only way to advance the sequence
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
