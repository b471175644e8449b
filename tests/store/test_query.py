import math
import pickle
import traceback

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from raykd.store import Folder, StoreError, StoreWarning, Trial, open_store


@pytest.fixture
def study(root, made):
    """Six trials, half of them in a snapshot."""
    store = open_store(root, create=True)
    with store.writer("study", made.spec) as writer:
        writer.append(made.finished(0, 0.5, role="reference", method="kd", config={}))
        writer.append(made.finished(1, 0.6, 0.9, 0.7, role="first", cohort="0000"))
        writer.append(made.finished(2, 0.8, 0.8, cohort="0001", config={"alpha": 2, "a": "x"}))
    writer = store.writer("study", made.spec)
    writer.append(made.finished(3, 0.95, state="PRUNED"))
    writer.append(made.finished(4, math.nan, config={"alpha": 1.5, "a": "y"}))
    writer.append([made.trial(5), made.report(5, 1, val_top1=0.99, loss=math.inf)])
    yield store.study("study")
    writer.close()


def ids(trials):
    return [trial.id for trial in trials]


def test_best_compares_the_last_epoch_of_complete_trials(study):
    assert ids(study.best()) == ["0002"]
    assert ids(study.best(10)) == ["0002", "0001"]
    assert study.best(0) == []
    (best,) = study.best()
    assert isinstance(best, Trial)
    assert best.config == {"alpha": 2, "a": "x"}
    assert best.metrics == {"val_top1": 0.8}
    assert (best.cohort, best.epoch, best.best_epoch, best.params) == ("0001", 2, 1, 100)


def test_best_by_role_metric_and_condition(study):
    assert ids(study.best(9, roles=("reference",))) == ["0000"]
    assert ids(study.best(9, roles=("search", "first", "reference"))) == ["0002", "0001", "0000"]
    assert ids(study.best(9, where=pc.field("config_alpha") < 1.2)) == ["0001"]
    assert ids(study.best(9, where=pc.field("config_a") == "x")) == ["0002"]
    assert ids(study.best(9, where=pc.field("best_val_top1") > 0.85)) == ["0001"]
    assert ids(study.best(9, mode="min")) == ["0001", "0002"]
    assert ids(study.best(9, metric="params", mode="min")) == ["0001", "0002", "0004"]
    assert ids(study.best(1, metric="cost_seconds", mode="max")) == ["0001"]


def test_best_refuses_what_it_does_not_know(study):
    with pytest.raises(StoreError, match="metric 'top1'; known: loss, val_top1, params, cost_sec"):
        study.best(metric="top1")
    with pytest.raises(StoreError, match="mode of 'params' is None; give 'max' or 'min'"):
        study.best(metric="params")
    with pytest.raises(StoreError, match="mode of 'val_top1' is 'maximum'"):
        study.best(mode="maximum")
    with pytest.raises(StoreError, match=r"the columns are: trial, .*config_a, config_"):
        study.best(where=pc.field("config_beta") > 1)
    with pytest.raises(StoreError, match="cannot apply"):
        study.best(where=pc.field("config_a") > 1)


def test_best_reads_no_metrics(study, monkeypatch):
    read = Folder.read

    def watched(self, path):
        assert not path.endswith("metrics.parquet")
        return read(self, path)

    monkeypatch.setattr(Folder, "read", watched)
    assert study.best()
    assert study.trials().num_rows == 6


def test_trials(study):
    table = study.trials()
    assert table["number"].to_pylist() == list(range(6))
    states = ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "RUNNING"]
    assert table["state"].to_pylist() == states
    assert table["config_alpha"].to_pylist() == [None, 1.1, 2.0, 1.3, 1.5, 1.5]
    assert table["config_a"].to_pylist() == [None, None, "x", None, "y", None]
    assert table["last_val_top1"].to_pylist()[:4] == [0.5, 0.7, 0.8, 0.95]
    assert table["best_val_top1"].to_pylist()[:4] == [0.5, 0.9, 0.8, 0.95]
    assert table["best_epoch"].to_pylist() == [1, 2, 1, 1, None, 1]
    assert table["last_loss"].to_pylist() == [None] * 5 + [math.inf]
    assert table["cost_seconds"].to_pylist() == [1.5] * 5 + [None]
    assert "config" not in table.column_names


def test_trial(study):
    assert study.trial("0005").state == "RUNNING"
    assert study.trial("0005").metrics == {"val_top1": 0.99, "loss": math.inf}
    with pytest.raises(StoreError, match="no trial '7' in study 'study'; there are: 0000 to 0005"):
        study.trial("7")


def test_curve(study):
    curve = study.curve("0001")
    assert curve.to_pydict() == {"epoch": [1, 2, 3], "val_top1": [0.6, 0.9, 0.7]}
    assert study.curve(study.trial("0005")).to_pylist() == [
        {"epoch": 1, "loss": math.inf, "val_top1": 0.99}
    ]
    assert math.isnan(study.curve("0004")["val_top1"][0].as_py())
    with pytest.raises(StoreError, match="no trial 'x'"):
        study.curve("x")


def test_metrics(study):
    table = study.metrics()
    assert table.column_names == ["trial", "epoch", "name", "value"]
    assert table.num_rows == 10
    assert table.filter(pc.field("trial") == "0002")["value"].to_pylist() == [0.8, 0.8]


def test_refresh_shows_what_is_new(root, made):
    store = open_store(root, create=True)
    with store.writer("study", made.spec, every=2) as writer:
        study = store.study("study")
        assert study.best() == []
        assert study.curve is not None
        for number in range(5):
            writer.append(made.finished(number, number / 10))
            study.refresh()
            assert study.trials().num_rows == number + 1
            assert ids(study.best()) == [f"{number:04d}"]
            assert study.metrics().num_rows == number + 1


def test_an_empty_study_answers(root, made):
    store = open_store(root, create=True)
    store.writer("study", made.spec).close()
    study = store.study("study")
    assert study.trials().num_rows == study.metrics().num_rows == 0
    assert study.best() == study.pareto({"val_top1": "max"}) == []
    with pytest.raises(StoreError, match="there are: none yet"):
        study.trial("0")


def test_pareto(tmp_path, made):
    points = [(0.5, 10), (0.9, 90), (0.7, 20), (0.7, 30), (0.6, 20), (0.9, 90), (0.4, 5)]
    store = open_store(tmp_path, create=True)
    with store.writer("study", made.spec) as writer:
        for number, (value, params) in enumerate(points):
            records = [made.trial(number), made.report(number, 1, val_top1=value)]
            writer.append([*records, made.end(number, params=params)])
        writer.append(made.finished(7, math.nan))
        writer.append([made.trial(8), made.report(8, 1, val_top1=1.0), made.end(8, params=None)])
    study = store.study("study")
    front = study.pareto({"val_top1": "max", "params": "min"})
    assert ids(front) == ["0001", "0005", "0002", "0000", "0006"]
    cheapest = study.pareto({"params": "min", "val_top1": "max"})
    assert ids(cheapest) == ["0006", "0000", "0002", "0001", "0005"]
    some = study.pareto({"val_top1": "max", "params": "min"}, where=pc.field("params") > 15)
    assert ids(some) == ["0001", "0005", "0002"]
    assert ids(study.pareto({"val_top1": "max"})) == ["0008"]
    for bad in ({}, {"val_top1": "up"}, {"nothing": "max"}):
        with pytest.raises(StoreError):
            study.pareto(bad)


def test_a_lost_beginning_is_named(tmp_path, made):
    store = open_store(tmp_path, create=True)
    writer = store.writer("study", made.spec)
    writer.append([made.trial(1)])
    writer.append([made.report(1, 1, val_top1=0.5)])
    writer.append(made.finished(2, 0.4))
    store.folder.write("study/tail/000001-00000001.jsonl", b"")
    study = store.study("study")
    with pytest.warns(StoreWarning) as caught:
        assert study.trials()["trial"].to_pylist() == ["0002"]
    texts = [str(warning.message) for warning in caught]
    assert texts == study.warnings
    assert "000001-00000001.jsonl is damaged" in texts[0]
    assert "the beginning of trial 0001 is lost; skipped" in texts[1]
    writer.close()


def test_thousands_of_trials(tmp_path, made):
    store = open_store(tmp_path, create=True)
    with store.writer("study", made.spec, every=5) as writer:
        for start in range(0, 3000, 100):
            new = [made.finished(n, n / 3000) for n in range(start, start + 100)]
            writer.append([record for records in new for record in records])
    study = store.study("study")
    assert ids(study.best(3)) == ["2999", "2998", "2997"]
    assert study.metrics().num_rows == 3000
    assert study.curve("1234")["val_top1"].to_pylist() == [1234 / 3000]


def test_snapshots_are_plain_parquet(tmp_path, made):
    import pandas as pd

    store = open_store(tmp_path, create=True)
    with store.writer("study", made.spec) as writer:
        writer.append(made.finished(1, 0.5) + made.finished(2, 0.6))
    (trials,) = tmp_path.glob("study/snapshot/*/trials.parquet")
    frame = pd.read_parquet(trials)
    assert frame["last_val_top1"].tolist() == [0.5, 0.6]
    (metrics,) = tmp_path.glob("study/snapshot/*/metrics.parquet")
    assert pd.read_parquet(metrics)["value"].tolist() == [0.5, 0.6]


def test_nothing_secret_is_stored_pickled_or_said(moto_server, moto_s3, made, monkeypatch):
    secret = moto_server.env["AWS_SECRET_ACCESS_KEY"]
    store = open_store(moto_s3, create=True)
    spec = made.spec | {"name": "study"}
    with store.writer("study", spec, every=1) as writer:
        writer.append(made.finished(1, 0.5))
        said = [repr(writer), repr(vars(writer))]
        with pytest.raises(StoreError) as second:
            store.writer("study", spec)
    study = store.study("study")
    stored = [store.folder.read(path) for path in store.folder.list()]
    assert len(stored) > 5
    results = (store, store.folder, study, study.best())
    pickles = [pickle.dumps(item) for item in (*results, second.value)]
    said += [repr(item) for item in (*results, vars(study))]
    errors = [second.value]
    for variable, value in (("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_PROFILE", "none")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            with pytest.raises(StoreError) as caught:
                open_store(moto_s3)
        errors.append(caught.value)
    with pytest.raises(StoreError) as caught:
        open_store("s3://no-such-bucket/x")
    errors.append(caught.value)
    said += ["".join(traceback.format_exception(error)) for error in errors]
    assert not [text for text in said if secret in text]
    assert not [data for data in stored + pickles if secret.encode() in data]
    assert isinstance(study.trials(), pa.Table)
