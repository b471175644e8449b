import math
import statistics

import pytest

from raykd.report.results import Results
from raykd.store import StoreError


def test_comparison_goes_from_the_teacher_to_the_best(study):
    rows = Results(study).compared()
    assert [(row.kind, row.label) for row in rows] == [
        ("teacher", "teacher"),
        ("plain", "plain student"),
        ("reference", "KD"),
        ("given", "ITRD, paper's setting"),
        ("best", "ITRD, best of 25 (0019)"),
    ]
    assert [row.contender.text("val_top1") for row in rows[:3]] == ["94.12%", "73.12%", "82.03%"]


def test_ranking_is_the_stores_where_there_is_one_seed(study):
    ranked = Results(study).ranked()
    assert [c.name for c in ranked] == [trial.id for trial in study.best(100)]
    assert ranked[0].config == study.best()[0].config
    cheapest = Results(study).ranked("val_loss", "min")
    assert [c.name for c in cheapest] == [
        t.id for t in study.best(99, metric="val_loss", mode="min")
    ]


def test_replicates_count_by_their_mean(made, tmp_path):
    results = Results(made.replicated(tmp_path))
    assert len(results.searched) == 9
    best = results.ranked()[0]
    assert [trial.id for trial in best.trials] == [best.name, f"{best.name}-s1", f"{best.name}-s2"]
    values = [trial.metrics["val_top1"] for trial in best.trials]
    assert best.mean("val_top1") == pytest.approx(statistics.fmean(values))
    assert best.std("val_top1") == pytest.approx(statistics.stdev(values))
    assert best.text("val_top1") == "84.60 ± 0.31%"
    means = [contender.mean("val_top1") for contender in results.ranked()]
    assert means == sorted(means, reverse=True)
    plain = next(row.contender for row in results.compared() if row.kind == "plain")
    assert [trial.id for trial in plain.trials] == ["vanilla", "vanilla-s1", "vanilla-s2"]


def test_one_unfinished_replicate_keeps_a_setting_out(made, tmp_path):
    records = [
        *made.whole("0000", 0, {"alpha": 1.0}, made.curve(0.8)),
        *made.whole("0001", 1, {"alpha": 1.1}, made.curve(0.9)),
        *made.whole("0001-s1", 1, {"alpha": 1.1}, [0.1], cohort="0000-s1", seed=1, state="FAIL"),
    ]
    results = Results(made.write(tmp_path, records, seeds=2))
    assert [contender.name for contender in results.ranked()] == ["0000"]
    assert results.progress == "2 trials with 2 seeds each: 1 complete, 1 failed"


def test_what_did_not_complete_has_no_value(made, tmp_path):
    results = Results(made.failed(tmp_path))
    told = {c.name: c.text_or_state("val_top1") for c in results.contenders}
    assert told == {
        "teacher": "94.12%",
        "vanilla": "failed (2 of 2 seeds)",
        "kd": "failed (1 of 2 seeds)",
        "0000": "failed (2 of 2 seeds)",
        "0001": "70.00 ± 0.00%",
        "0002": "failed (1 of 2 seeds)",
        "0003": "pruned (2 of 2 seeds)",
    }
    assert [c.name for c in results.ranked()] == ["0001"]
    assert [c.name for c in results.pareto({"val_top1": "max", "params": "min"})] == ["0001"]
    plain, kd = (row.contender for row in results.compared()[1:3])
    for other in (plain, kd, results.contenders[0]):
        assert other.gain(plain, "val_top1") == plain.gain(other, "val_top1") == ""
    assert kd.best_text("val_top1") == kd.text("test_top1") == kd.text("params") == ""


def test_complete_without_a_finite_value_is_no_result(made, tmp_path):
    records = [
        *made.whole("0000", 0, {"alpha": 1.0}, [math.inf]),
        *made.whole("0001", 1, {"alpha": 1.1}, [math.nan]),
        *made.whole("0002", 2, {"alpha": 1.2}, made.curve(0.8)),
    ]
    results = Results(made.write(tmp_path, records))
    assert [c.text_or_state("val_top1") for c in results.contenders] == ["none", "none", "80.00%"]
    assert [c.name for c in results.ranked()] == ["0002"]


def test_front_is_the_stores_where_there_is_one_seed(made, tmp_path):
    study = made.several(tmp_path)
    objectives = {"val_top1": "max", "params": "min"}
    front = Results(study).pareto(dict.fromkeys(objectives))
    assert [c.name for c in front] == [trial.id for trial in study.pareto(objectives)]
    assert len(front) == 3


def test_a_cost_may_be_an_objective(study):
    results = Results(study)
    [winner] = results.pareto({"val_top1": "max", "cost_seconds": "min"})
    assert winner == results.ranked()[0]


@pytest.mark.parametrize(
    ("metric", "mode", "text"),
    [
        ("speed", "max", "no trial has a metric 'speed'; known: .*val_top1"),
        ("val_loss", None, "mode of 'val_loss' is None; give 'max' or 'min'"),
    ],
)
def test_unknown_metrics_and_modes(study, metric, mode, text):
    with pytest.raises(StoreError, match=text):
        Results(study).ranked(metric, mode)


def test_given_settings_are_the_papers_only_where_nothing_was_changed(made, tmp_path):
    records = [
        *made.whole("0000", 0, {"alpha": 1.01}, made.curve(0.8), role="first"),
        *made.whole("0001", 1, {"alpha": 1.5}, made.curve(0.8), role="first"),
        *made.whole("kd", -1, {"temperature": 2.0}, made.curve(0.8), role="reference", method="kd"),
    ]
    rows = Results(made.write(tmp_path, records, first=[{}, {"alpha": 1.5}])).compared()
    assert [row.label for row in rows] == [
        "KD (temperature = 2)",
        "ITRD, paper's setting",
        "ITRD, given (0001)",
        "ITRD, best of 2 (0000)",
    ]


def test_nothing_complete(made, tmp_path):
    results = Results(made.none_complete(tmp_path))
    assert results.ranked() == []
    assert results.pareto({"val_top1": "max"}) == []
    assert [row.kind for row in results.compared()] == ["teacher"]
    assert results.progress == "2 trials: 1 failed, 1 unfinished"
    assert math.isnan(results.searched[0].mean("val_top1"))


def test_dictionary_holds_means_and_trials(made, tmp_path):
    best = Results(made.replicated(tmp_path)).ranked()[0].as_dict()
    assert best["metrics"]["val_top1"] == pytest.approx(0.846, abs=1e-3)
    assert set(best["std"]) == set(best["metrics"])
    assert [trial["seed"] for trial in best["trials"]] == [0, 1, 2]
