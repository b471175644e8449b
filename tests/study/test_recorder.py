"""What the store keeps of a study, and what a ledger makes of it when the study goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from raykd.experiments.plan import CohortPlan
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.search.planner import Search
from raykd.store import Store, open_store
from raykd.study import Study
from raykd.study.recorder import StudyRecorder
from raykd.train.loop import Row

Make = Callable[..., Study]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path, create=True)


@contextmanager
def ledger(study: Study, store: Store, concurrent: int = 1) -> Iterator[StudyRecorder]:
    """A run of the study, from what the store holds."""
    spec = {
        "metric": list(study.metrics),
        "mode": list(study.modes),
        "space": {},
        "trials": study.trials,
        "identity": {"seed": study.seed},
    }
    with store.writer(study.name, spec) as writer:
        made = StudyRecorder(study, Search(study.search_config(concurrent)), writer, store.folder)
        stored = store.study(study.name)
        curves: dict[str, dict[int, list[float]]] = {}
        for row in stored.metrics().to_pylist():
            if row["name"] == study.metrics[0]:
                curves.setdefault(row["trial"], {})[row["epoch"]] = [row["value"]]
        made.restore(stored.trials().to_pylist(), curves)
        yield made


def row(trial: str, epoch: int, state: str = "RUNNING", **metrics: float) -> Row:
    known = {"val_top1": 0.1 * epoch, "params": 10.0, "share_seconds": 2.0, **metrics}
    return Row(trial, epoch, known, state)


def taught(plan: CohortPlan, epochs: Any = (1, 2, 3)) -> Iterator[list[Row]]:
    for epoch in epochs:
        state = "COMPLETE" if epoch == 3 else "RUNNING"
        yield [row(setting.trial, epoch, state) for setting in plan.trials]


def teach(book: StudyRecorder, plan: CohortPlan, epochs: Any = (1, 2, 3)) -> None:
    for rows in taught(plan, epochs):
        book.rows(plan, rows)


def trials(store: Store) -> dict[str, dict[str, Any]]:
    return {row["trial"]: row for row in store.study("small").trials().to_pylist()}


def names(plan: CohortPlan | None) -> list[str]:
    assert plan is not None
    return [setting.trial for setting in plan.trials]


def test_a_cohort_is_stored_before_it_is_taught(study: Make, store: Store) -> None:
    with ledger(study(), store) as book:
        plan = book.take()
        assert names(plan) == ["vanilla", "kd", "0000", "0001"]
        stored = trials(store)
    assert {trial: row["state"] for trial, row in stored.items()} == dict.fromkeys(
        ["vanilla", "kd", "0000", "0001"], "RUNNING"
    )
    assert stored["0000"]["role"] == "first"
    assert stored["0000"]["config_alpha"] == 1.01
    assert stored["0001"]["role"] == "search"
    assert stored["vanilla"]["number"] == -1
    assert stored["0001"]["cohort"] == plan.cohort


def test_epochs_and_ends_are_stored(study: Make, store: Store) -> None:
    with ledger(study(), store) as book:
        plan = book.take()
        ended = [
            row("vanilla", 2, "COMPLETE"),
            row("kd", 2, "PRUNED"),
            row("0000", 2, "FAIL", val_top1=float("nan")),
            row("0001", 2, "COMPLETE"),
        ]
        for rows in [[row(name, 1) for name in names(plan)], ended]:
            assert book.rows(plan, rows) == rows
        assert book.running == {}
    stored = trials(store)
    states = {trial: row["state"] for trial, row in stored.items()}
    assert states == {"vanilla": "COMPLETE", "kd": "PRUNED", "0000": "FAIL", "0001": "COMPLETE"}
    assert stored["kd"]["checkpoint"] == "small/checkpoints/kd/last.safetensors"
    assert stored["kd"]["params"] == 10
    assert (stored["kd"]["cost_seconds"], stored["kd"]["cost_epochs"]) == (4.0, 2.0)
    assert store.study("small").curve("kd")["val_top1"].to_pylist() == [0.1, 0.2]


def test_all_cohorts_until_there_is_no_more(study: Make, store: Store) -> None:
    with ledger(study(), store) as book:
        plans = []
        while plan := book.take():
            plans.append(names(plan))
            assert book.take() is None, "one cohort at a time, and it is not known yet"
            teach(book, plan)
        assert book.finished()
    assert plans == [["vanilla", "kd", "0000", "0001"], ["0002", "0003", "0004"]]
    assert {row["state"] for row in trials(store).values()} == {"COMPLETE"}


def test_what_an_epoch_says_twice_is_stored_once(study: Make, store: Store) -> None:
    """A worker that was killed tells the epochs again that were done before."""
    with ledger(study(), store) as book:
        plan = book.take()
        first, second, third = taught(plan)
        assert book.rows(plan, first) == first
        assert book.rows(plan, first) == []
        assert book.rows(plan, second) == second
        for rows in (first, second):
            assert book.rows(plan, rows) == []
        book.rows(plan, third)
    stored = trials(store)["0000"]
    assert (stored["cost_seconds"], stored["cost_epochs"]) == (6.0, 3.0)


def test_an_unfinished_cohort_goes_on(study: Make, store: Store) -> None:
    with ledger(study(), store) as book:
        plan = book.take()
        teach(book, plan, (1, 2))
    with ledger(study(), store) as book:
        again = book.take()
        assert again.cohort == plan.cohort
        assert {s.trial: s for s in again.trials} == {s.trial: s for s in plan.trials}
        assert book.epochs_done() == 2
        first, second, third = taught(again)
        assert book.rows(again, first) == book.rows(again, second) == []
        assert book.rows(again, third) == third
        assert names(book.take()) == ["0002", "0003", "0004"]
    stored = trials(store)
    assert stored["0001"]["state"] == "COMPLETE"
    cost = stored["0001"]["cost_seconds"], stored["0001"]["cost_epochs"]
    assert cost == (6.0, 3.0), "what was done before the stop counts"


def test_a_study_that_is_stopped_anywhere_is_that_of_an_unbroken_run(
    study: Make, tmp_path: Path
) -> None:
    def run(where: str, stop: int) -> dict[str, Any]:
        store, steps = open_store(tmp_path / where, create=True), 0
        while True:
            with ledger(study(), store) as book:
                while plan := book.take():
                    for rows in taught(plan):
                        book.rows(plan, rows)
                        steps += 1
                        if steps % stop == 0:
                            break
                    else:
                        continue
                    break
                if book.finished() and not book.running:
                    break
        assert {row["state"] for row in trials(store).values()} == {"COMPLETE"}
        known = ("config_alpha", "config_lr", "cost_seconds", "cost_epochs", "last_val_top1")
        return {name: [row[key] for key in known] for name, row in trials(store).items()}

    unbroken = run("unbroken", 1000)
    assert len(unbroken) == 7
    assert run("four", 4) == unbroken
    assert run("five", 5) == unbroken


def test_more_trials_extend_a_finished_study(study: Make, store: Store) -> None:
    with ledger(study(), store) as book:
        while plan := book.take():
            teach(book, plan)
    before = trials(store)
    with ledger(study(trials=8), store) as book:
        assert not book.finished()
        assert names(book.take()) == ["0005", "0006", "0007"]
    assert before.items() <= trials(store).items()


def test_replicates_are_cohorts_of_their_own(study: Make, store: Store) -> None:
    with ledger(study(seeds=2, seed=5, trials=2), store, concurrent=2) as book:
        plans = [book.take(), book.take()]
        assert [plan.replicate for plan in plans] == [0, 1]
        teach(book, plans[0])
        assert not book.finished() or book.running
    stored = trials(store)
    assert stored["kd-s1"]["cohort"] == plans[1].cohort
    assert (stored["kd"]["seed"], stored["kd-s1"]["seed"]) == (5, 6)
    with ledger(study(seeds=2, seed=5, trials=2), store, concurrent=2) as book:
        again = book.take()
        assert (again.cohort, again.replicate) == (plans[1].cohort, 1)
        assert sorted(names(again)) == sorted(names(plans[1]))


def test_settings_come_back_as_they_went(study: Make, store: Store) -> None:
    """Types and None survive, whatever other trials make of the table's columns."""
    choices = CategoricalDistribution([None, 1, 0.5, "auto", True])
    made = study(
        method=KD,
        space={"gamma": choices, "lr": FloatDistribution(1e-3, 1.0)},
        references=(partial(ITRD, alpha=1.5), partial(KD, gamma=2)),
        trials=12,
        cohort=12,
    )
    with ledger(made, store) as book:
        plan = book.take()
        assert {type(s.config["gamma"]) for s in plan.trials if s.role != "reference"} > {str}
    with ledger(made, store) as book:
        again = book.take()
    settings = {setting.trial: setting for setting in plan.trials}
    assert {setting.trial: setting for setting in again.trials} == settings
    for setting in again.trials:
        for name, value in setting.config.items():
            assert type(value) is type(settings[setting.trial].config[name])


def test_a_lost_cohort_stays_unfinished_and_is_gone_on_with(study: Make, store: Store) -> None:
    with ledger(study(), store) as book:
        plan = book.take()
        book.rows(plan, next(taught(plan)))
        book.give_up(plan, "out of memory")
        assert book.lost == {plan.cohort: "out of memory"}
        assert book.running == {}
        following = book.take()
        assert names(following) == ["0002", "0003", "0004"]
        teach(book, following)
        assert book.search.optuna.trials[0].state == TrialState.FAIL
    assert trials(store)["0000"]["state"] == "RUNNING"
    with ledger(study(), store) as book:
        again = book.take()
        assert again.cohort == plan.cohort
        teach(book, again)
        book.search.finish()
        assert book.search.optuna.trials[0].state == TrialState.COMPLETE
    assert trials(store)["0000"]["state"] == "COMPLETE"


def test_a_trial_that_failed_by_an_exception_has_no_metrics(study: Make, store: Store) -> None:
    with ledger(study(), store) as book:
        plan = book.take()
        failed = [Row(name, 1, {}, "FAIL", "KeyError: 'x' (mine.py:3)") for name in ("kd", "0000")]
        first = [*(row(name, 1) for name in ("vanilla", "0001")), *failed]
        assert book.rows(plan, first) == first
        late = Row("0001", 2, {}, "FAIL", "ValueError: late (mine.py:4)")
        assert book.rows(plan, [*failed, late]) == [late], "an end is told once"
    stored = trials(store)
    assert (stored["kd"]["state"], stored["kd"]["reason"]) == ("FAIL", "KeyError: 'x' (mine.py:3)")
    assert (stored["kd"]["epoch"], stored["kd"]["checkpoint"], stored["kd"]["cost_epochs"]) == (
        *(None, "", 0.0),
    )
    assert (stored["0001"]["state"], stored["0001"]["last_val_top1"]) == ("FAIL", 0.1)
    with ledger(study(), store) as book:
        again = book.take()
        assert again.cohort == plan.cohort
        book.rows(again, [row("vanilla", epoch, "RUNNING") for epoch in (1, 2)][-1:])
        book.rows(again, [row("vanilla", 3, "COMPLETE")])
        assert book.running == {}
        book.search.finish()
        states = [trial.state for trial in book.search.optuna.trials]
        assert states == [TrialState.FAIL, TrialState.FAIL]
    assert trials(store)["0000"]["state"] == "FAIL"


def test_checkpoints_of_an_ended_cohort_go_and_its_weights_stay(study: Make, store: Store) -> None:
    with ledger(study(), store) as book:
        plan = book.take()
        kept = "small/checkpoints/0000/last.safetensors"
        store.folder.write(f"small/checkpoints/{plan.cohort}/00001.pt", b"state")
        store.folder.write(kept, b"weights")
        teach(book, plan, (1, 2))
        assert store.folder.exists(f"small/checkpoints/{plan.cohort}/00001.pt")
        teach(book, plan, (3,))
    assert store.folder.list("small/checkpoints") == [kept]


def test_the_teacher_is_written_down_once(study: Make, store: Store) -> None:
    metrics = {"val_top1": 0.9, "test_top1": 0.8, "params": 100.0}
    with ledger(study(), store) as book:
        assert "teacher" not in book.known
        book.teacher(metrics)
    stored = trials(store)["teacher"]
    assert (stored["role"], stored["state"], stored["params"]) == ("teacher", "COMPLETE", 100)
    assert stored["last_val_top1"] == 0.9
    with ledger(study(), store) as book:
        assert "teacher" in book.known
        assert "teacher" not in names(book.take())
