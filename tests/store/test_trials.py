import math

import pyarrow as pa
import pytest

from raykd.store.trials import CORE, Trials, to_trial


def table_of(*records, base=None, objective="val_top1", mode="max"):
    trials = Trials(base, objective, mode)
    trials.apply(records)
    return trials.table()


def trials_of(*records, **options):
    return [to_trial(row) for row in table_of(*records, **options).to_pylist()]


def test_a_trial_from_its_records(made):
    (trial,) = trials_of(
        made.trial(7, config={"alpha": 1.2, "rank": 4}, role="first", cohort="0002"),
        made.report(7, 1, val_top1=0.5, loss=2.0),
        made.report(7, 2, val_top1=0.7, loss=1.0),
        made.report(7, 3, val_top1=0.6, loss=0.5),
        made.end(7, checkpoint="s/checkpoints/0007", cost={"seconds": 2.0, "images": 64}),
    )
    assert (trial.id, trial.number, trial.cohort, trial.role) == ("0007", 7, "0002", "first")
    assert (trial.state, trial.method, trial.seed, trial.params) == ("COMPLETE", "itrd", 7, 100)
    assert trial.config == {"alpha": 1.2, "rank": 4}
    assert (trial.epoch, trial.metrics) == (3, {"val_top1": 0.6, "loss": 0.5})
    assert (trial.best_epoch, trial.best) == (2, {"val_top1": 0.7, "loss": 1.0})
    assert trial.cost == {"seconds": 2.0, "images": 64.0}
    assert trial.checkpoint == "s/checkpoints/0007"


def test_a_trial_that_goes_on_is_running(made):
    (trial,) = trials_of(made.trial(1))
    assert (trial.state, trial.epoch, trial.best_epoch, trial.metrics) == (
        "RUNNING",
        None,
        None,
        {},
    )


def test_columns(made):
    table = table_of(*made.finished(1, 0.5), made.trial(2, config={"beta": True}))
    dynamic = ["config_alpha", "config_beta", "last_val_top1", "best_val_top1", "cost_seconds"]
    assert table.column_names == [*CORE.names, *dynamic]
    assert table["config_alpha"].to_pylist() == [1.1, None]
    assert table["config_beta"].to_pylist() == [None, True]


def test_best_epoch_follows_the_mode_and_ties_go_to_the_earlier(made):
    values = (0.5, 0.2, 0.7, 0.2, 0.7)
    assert trials_of(*made.finished(1, *values))[0].best_epoch == 3
    assert trials_of(*made.finished(1, *values), mode="min")[0].best_epoch == 2
    backwards = [made.trial(1), *(made.report(1, e, val_top1=0.3) for e in (3, 2, 1))]
    assert trials_of(*backwards)[0].best_epoch == 1


def test_best_epoch_is_never_one_that_diverged(made):
    (trial,) = trials_of(*made.finished(1, math.nan, 0.1, math.inf, math.nan))
    assert (trial.best_epoch, trial.best["val_top1"]) == (2, 0.1)
    assert math.isnan(trial.metrics["val_top1"])
    (trial,) = trials_of(*made.finished(1, math.nan))
    assert trial.best_epoch is None


def test_nan_and_null_differ(made):
    table = table_of(*made.finished(1, math.nan), made.trial(2))
    assert table["last_val_top1"].null_count == 1
    assert math.isnan(table["last_val_top1"][0].as_py())


def test_reports_of_one_epoch_add_up(made):
    begin = [made.trial(1), made.report(1, 1, loss=1.0), made.report(1, 1, val_top1=0.5)]
    (trial,) = trials_of(*begin)
    assert trial.metrics == trial.best == {"loss": 1.0, "val_top1": 0.5}
    (trial,) = trials_of(*begin, made.report(1, 1, test_top1=0.4))
    assert trial.metrics == trial.best == {"loss": 1.0, "val_top1": 0.5, "test_top1": 0.4}


def test_records_again_change_nothing(made):
    records = [*made.finished(1, 0.1, 0.9, 0.5), *made.finished(2, 0.3, state="FAIL")]
    assert table_of(*records, *records).equals(table_of(*records))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([2.5, 1], pa.float64()),
        ([True, False], pa.bool_()),
        (["a", "b"], pa.string()),
        ([True, 1], pa.string()),
        (["auto", 0.5], pa.string()),
        ([0.5, [1, 2]], pa.string()),
        ([2**70, 1], pa.string()),
        ([1, 2**70, 0.5], pa.string()),
        ([None, 1], pa.int64()),
        ([None, None], pa.null()),
        ([{"a": 1}, {"a": 2}], pa.string()),
        ([math.inf, 1], pa.float64()),
    ],
)
def test_types_of_hyperparameters_never_break(made, values, kind):
    records = [made.trial(i, config={"x": value}) for i, value in enumerate(values)]
    table = table_of(*records)
    assert table["config_x"].type == kind
    assert [trial.config["x"] for trial in trials_of(*records)] == values
    base = None
    for record in records:  # one by one, each into a table of its own
        base = table_of(record, base=base)
    assert base.equals(table)


def test_a_table_and_later_records_are_as_all_records(made):
    records = [*made.finished(1, 0.5, 0.9), *made.finished(2, 0.7, config={"rank": 3, "a": "x"})]
    records += [*made.finished(0, 0.1, config={"rank": 0.5}), made.report(2, 2, extra=1.0)]
    whole = table_of(*records)
    for cut in range(len(records) + 1):
        assert table_of(*records[cut:], base=table_of(*records[:cut])).equals(whole)


def test_no_records():
    table = table_of()
    assert (table.num_rows, table.schema) == (0, CORE)
    assert "0001" not in Trials(None, "val_top1", "max")
