"""The same study whatever the order in which cohorts end, and whenever it is stopped."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from raykd.experiments.plan import CohortPlan, TrialPlan
from raykd.search.planner import Search, SearchConfig
from raykd.search.samplers import SAMPLERS

QUESTION = SearchConfig(
    space={"x": FloatDistribution(0, 1), "y": FloatDistribution(0.1, 10, log=True)},
    modes=("max",),
    trials=11,
    cohort=3,
    given=({"x": 0.5, "y": 2.0}, {"x": 0.25, "y": 1.0}),
    references=(TrialPlan("vanilla", "reference", "vanilla"), TrialPlan("kd", "reference", "kd")),
    method="itrd",
    concurrent=2,
)

EACH = [*(name for name in SAMPLERS if name != "gp"), pytest.param("gp", marks=pytest.mark.slow)]
"""Every sampler; Gaussian processes take seconds."""

Report = Callable[[Search, TrialPlan], None]


def complete(search: Search, setting: TrialPlan) -> None:
    """Two epochs of a trial; its objectives depend on its setting and on its seed."""
    value = -((setting.config.get("x", 0.0) - 0.3) ** 2) + 0.01 * setting.trial.endswith("-s1")
    values = [value, setting.config.get("y", 0.0)][: len(search.config.modes)]
    search.observe(setting.trial, 1, [2 * v for v in values], "RUNNING")
    search.observe(setting.trial, 2, values, "COMPLETE")


@dataclass
class Run:
    """Runs a study to its end; `concurrent` cohorts at a time, that end in a random order."""

    question: SearchConfig = QUESTION
    order: int = 0
    stop: int | None = None
    report: Report = complete
    asked: list[CohortPlan] = field(default_factory=list)

    def __call__(self) -> Search:
        search, live, ended = Search(self.question), [], 0
        shuffled = random.Random(self.order)
        while True:
            while len(live) < self.question.concurrent and (plans := search.next()):
                self.asked += plans
                live += plans
            if not live:
                break
            plan = live.pop(shuffled.randrange(len(live)))
            for setting in plan.trials:
                self.report(search, setting)
            ended += 1
            if ended == self.stop:
                search = resumed(search)
        search.finish()
        return search


def resumed(search: Search, question: SearchConfig | None = None) -> Search:
    """Another search that knows what the store would have kept."""
    again = Search(question or search.config)
    for trial, outcome in search.outcomes.items():
        for epoch, value in outcome.curve.items():
            last = epoch == max(outcome.curve)
            values = outcome.values if last else [value]
            again.observe(trial, epoch, values, outcome.state if last else "RUNNING")
    again.restore(search.plans)
    return again


def told(search: Search) -> list[tuple[str, dict[str, Any], Any, dict[int, float]]]:
    return [(t.state.name, t.params, t.values, t.intermediate_values) for t in search.optuna.trials]


@pytest.mark.parametrize("sampler", EACH)
def test_the_order_in_which_cohorts_end_changes_nothing(sampler: str) -> None:
    question = replace(QUESTION, sampler=sampler)
    expected = told(Run(question)())
    assert len(expected) == 11
    assert all(told(Run(question, order=order)()) == expected for order in (1, 2))
    assert told(Run(replace(question, seed=1))()) != expected


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
@pytest.mark.parametrize("sampler", EACH)
def test_goes_on_after_any_cohort(sampler: str, stop: int) -> None:
    question = replace(QUESTION, sampler=sampler)
    assert told(Run(question, stop=stop)()) == told(Run(question)())


def test_names_roles_and_sizes() -> None:
    run = Run()
    run()
    assert [plan.cohort for plan in run.asked] == [f"c{k:04d}" for k in range(5)]
    names = [[setting.trial for setting in plan.trials] for plan in run.asked]
    assert names == [
        ["vanilla", "kd", "0000"],
        ["0001", "0002", "0003"],
        ["0004", "0005", "0006"],
        ["0007", "0008", "0009"],
        ["0010"],
    ]
    assert run.question.cohorts() == 5
    settings = [setting for plan in run.asked for setting in plan.trials]
    roles = [setting.role for setting in settings[:5]]
    assert roles == ["reference", "reference", "first", "first", "search"]
    assert [setting.config for setting in settings[2:4]] == list(QUESTION.given)
    assert {setting.method for setting in settings[2:]} == {"itrd"}


def test_without_trials_the_references_run_alone() -> None:
    run = Run(replace(QUESTION, trials=0, given=()))
    search = run()
    assert [[s.trial for s in plan.trials] for plan in run.asked] == [["vanilla", "kd"]]
    assert search.next() == []
    assert search.next_is_empty()


def test_a_cohort_waits_for_those_before_it_in_their_order() -> None:
    search = Search(QUESTION)
    plans = [search.next(), search.next()]
    assert all(plans)
    assert search.next() is None
    for setting in plans[1][0].trials:
        complete(search, setting)
    assert search.next() is None, "the first one is not known yet"
    for setting in plans[0][0].trials:
        complete(search, setting)
    assert search.next()


def test_out_of_order_never_waits() -> None:
    search = Search(replace(QUESTION, in_order=False))
    plans = [search.next() for _ in range(5)]
    assert all(plans)
    assert search.next() == []
    for setting in plans[2][0].trials:
        complete(search, setting)
    search.finish()
    states = [trial.state for trial in search.optuna.trials]
    assert states.count(TrialState.COMPLETE) == 3
    assert states.count(TrialState.RUNNING) == 8


def test_out_of_order_goes_by_what_is_known() -> None:
    search = Search(replace(QUESTION, in_order=False))
    first, _ = search.next(), search.next()
    for setting in first[0].trials:
        complete(search, setting)
    search.next()
    done = {t.number for t in search.optuna.trials if t.state == TrialState.COMPLETE}
    assert done == {0}


def test_several_objectives() -> None:
    search = Run(replace(QUESTION, modes=("max", "min")))()
    [kinds] = {tuple(d.name for d in search.optuna.directions)}
    assert kinds == ("MAXIMIZE", "MINIMIZE")
    for trial in search.optuna.trials:
        assert trial.values == [-((trial.params["x"] - 0.3) ** 2), trial.params["y"]]
        assert trial.state == TrialState.COMPLETE


def test_replicates_are_told_as_their_mean() -> None:
    run = Run(replace(QUESTION, replicates=2))
    search = run()
    assert [plan.cohort for plan in run.asked[:3]] == ["c0000", "c0000-s1", "c0001"]
    assert len(run.asked) == 10
    assert len(search.optuna.trials) == 11
    for trial in search.optuna.trials:
        assert trial.value == pytest.approx(-((trial.params["x"] - 0.3) ** 2) + 0.005)
    assert told(Run(run.question, order=5, stop=3)()) == told(search)


def ending(state: str, *, trial: str = "0004", values: tuple[float, ...] = (0.5,)) -> Report:
    """All complete but one."""

    def report(search: Search, setting: TrialPlan) -> None:
        if setting.trial == trial:
            search.observe(trial, 1, list(values), state)
        else:
            complete(search, setting)

    return report


def test_a_pruned_trial_is_told_with_its_values() -> None:
    trial = Run(report=ending("PRUNED"))().optuna.trials[4]
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.5}


def test_a_pruned_trial_of_several_objectives() -> None:
    question = replace(QUESTION, modes=("max", "min"))
    search = Run(question, report=ending("PRUNED", values=(0.5, 2.0)))()
    states = [trial.state for trial in search.optuna.trials]
    assert (states[4], states.count(TrialState.COMPLETE)) == (TrialState.PRUNED, 10)


@pytest.mark.parametrize("sampler", EACH)
def test_a_diverged_trial_is_told_to_have_failed(sampler: str) -> None:
    question = replace(QUESTION, sampler=sampler)
    search = Run(question, report=ending("FAIL", values=(float("nan"),)))()
    states = [trial.state for trial in search.optuna.trials]
    assert (states[4], states.count(TrialState.COMPLETE)) == (TrialState.FAIL, 10)


def test_an_objective_that_is_not_finite_is_no_objective() -> None:
    search = Run(report=ending("COMPLETE", values=(float("inf"),)))()
    assert search.optuna.trials[4].state == TrialState.FAIL


def test_one_pruned_replicate_prunes_the_setting() -> None:
    question = replace(QUESTION, replicates=2)
    for state in ("PRUNED", "FAIL"):
        search = Run(question, report=ending(state, trial="0004-s1"))()
        assert search.optuna.trials[4].state.name == state
    assert search.optuna.trials[3].state == TrialState.COMPLETE


@pytest.mark.parametrize("sampler", EACH)
def test_more_trials_extend_a_finished_study(sampler: str) -> None:
    question = replace(QUESTION, sampler=sampler)
    finished = Run(question)()
    longer = resumed(finished, replace(question, trials=16))
    new = []
    while plans := longer.next():
        new += [setting.trial for plan in plans for setting in plan.trials]
        for plan in plans:
            for setting in plan.trials:
                complete(longer, setting)
    longer.finish()
    assert new == ["0011", "0012", "0013", "0014", "0015"]
    assert told(longer)[:11] == told(finished)
    assert {trial.state for trial in longer.optuna.trials} == {TrialState.COMPLETE}


def test_a_cohort_given_up_stops_nobody() -> None:
    search = Search(replace(QUESTION, concurrent=1, cohort=5))
    [plan] = search.next()
    complete(search, plan.trials[2])
    assert search.next() is None
    search.give_up(plan)
    [following] = search.next()
    assert following.cohort == "c0001"
    states = [trial.state for trial in search.optuna.trials[:3]]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]


@pytest.mark.parametrize("sampler", EACH)
def test_choices_go_on_too(sampler: str) -> None:
    space = {"x": FloatDistribution(0, 1), "y": CategoricalDistribution([None, 1, "a"])}
    question = replace(QUESTION, space=space, given=({"x": 0.5, "y": None},), sampler=sampler)

    def report(search: Search, setting: TrialPlan) -> None:
        value = setting.config.get("x", 0.0)
        search.observe(setting.trial, 1, [value], "COMPLETE")

    assert told(Run(question, stop=2, report=report)()) == told(Run(question, report=report)())


def test_suggestions_learn() -> None:
    """TPE's later trials lie nearer to the best x than its first, random ones."""
    search = Run(replace(QUESTION, trials=40, given=(), references=()))()
    distance = [abs(trial.params["x"] - 0.3) for trial in search.optuna.trials]
    assert sum(distance[30:]) < sum(distance[:10])
    assert isinstance(search.optuna, optuna.Study)
