import math

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import TrialState

from raykd.store import open_store

SPACE = {
    "alpha": FloatDistribution(1.0, 2.0),
    "beta": FloatDistribution(0.1, 10.0, log=True),
    "rank": IntDistribution(1, 8),
    "head": CategoricalDistribution(["linear", None, 3]),
}


def study_of(tmp_path, made, *batches, **spec):
    space = {name: distribution_to_json(item) for name, item in SPACE.items()}
    store = open_store(tmp_path, create=True)
    with store.writer("study", made.spec | {"space": space} | spec) as writer:
        for records in batches:
            writer.append(records)
    return store.study("study")


def config(**change):
    return {"alpha": 1.5, "beta": 1.0, "rank": 2, "head": "linear", **change}


def test_states_values_and_attributes(tmp_path, made):
    study = study_of(
        tmp_path,
        made,
        made.finished(0, 0.1, role="reference", config={}),
        made.finished(1, 0.4, 0.5, role="first", cohort="0003", config=config()),
        made.finished(2, 0.2, state="PRUNED", config=config(rank=8, head=None)),
        [made.trial(3, config=config(extra=1)), made.end(3, "FAIL", reason="loss is nan")],
        [made.trial(4, config=config(head=3)), made.report(4, 1, val_top1=0.3)],
        made.finished(5, math.nan, config=config()),
    ).to_optuna()
    assert study.study_name == "study"
    assert study.direction.name == "MAXIMIZE"
    done, pruned, failed, running, diverged = study.trials
    assert (done.state, done.value) == (TrialState.COMPLETE, 0.5)
    assert done.params == config()
    assert done.distributions == SPACE
    assert done.intermediate_values == {1: 0.4, 2: 0.5}
    attributes = {"trial": "0001", "cohort": "0003", "role": "first", "method": "itrd", "seed": 1}
    assert done.user_attrs == attributes | {"config": config(), "metrics": {"val_top1": 0.5}}
    assert done.duration.total_seconds() == 1.5
    assert (pruned.state, pruned.value) == (TrialState.PRUNED, 0.2)
    assert pruned.params["head"] is None
    assert (failed.state, failed.value) == (TrialState.FAIL, None)
    assert failed.user_attrs["reason"] == "loss is nan"
    assert "extra" not in failed.params
    assert (running.state, running.intermediate_values) == (TrialState.RUNNING, {1: 0.3})
    assert (diverged.state, diverged.value) == (TrialState.FAIL, None)
    assert study.best_trial.user_attrs["trial"] == "0001"


def test_importances_can_be_computed(tmp_path, made):
    batches = [
        made.finished(n, alpha**2, config=config(alpha=alpha, rank=n % 8 + 1))
        for n, alpha in enumerate([1.0, 1.9, 1.2, 1.8, 1.4, 1.6, 1.1, 1.7, 1.3, 2.0])
    ]
    importances = optuna.importance.get_param_importances(
        study_of(tmp_path, made, *batches).to_optuna(),
        evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
    )
    assert set(importances) == set(SPACE) or "alpha" in importances
    assert max(importances, key=importances.get) == "alpha"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"alpha": 0.5}, FloatDistribution(0.5, 2.0)),
        ({"alpha": 3}, FloatDistribution(1.0, 3.0)),
        ({"beta": 20.0}, FloatDistribution(0.1, 20.0, log=True)),
        ({"beta": 0.0}, FloatDistribution(0.0, 10.0)),
        ({"rank": 16}, IntDistribution(1, 16)),
        ({"rank": 1.5}, FloatDistribution(1, 8)),
        ({"head": "deep"}, CategoricalDistribution(["linear", None, 3, "deep"])),
    ],
)
def test_a_setting_outside_of_the_space_widens_it_for_all(tmp_path, made, change, expected):
    (name,) = change
    study = study_of(
        tmp_path,
        made,
        made.finished(1, 0.5, role="first", config=config(**change)),
        made.finished(2, 0.6, config=config()),
    ).to_optuna()
    for trial in study.trials:
        assert trial.distributions == SPACE | {name: expected}
    assert study.trials[0].params == config(**change)


def test_several_objectives(tmp_path, made):
    objectives = {"metric": ["val_top1", "params"], "mode": ["max", "min"]}
    study = study_of(
        tmp_path,
        made,
        made.finished(1, 0.5, config=config()),
        made.finished(2, 0.4, state="PRUNED", config=config()),
        [made.trial(3, config=config()), made.report(3, 1, val_top1=0.6), made.end(3, params=50)],
        **objectives,
    ).to_optuna()
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].values == [0.5, 100.0]
    assert [trial.user_attrs["trial"] for trial in study.best_trials] == ["0003"]
