import json
import warnings

import pytest
from typer.testing import CliRunner

import raykd
from raykd.report.command import app


@pytest.fixture(scope="module")
def root(study):
    return study.folder.uri.rpartition("/")[0]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def refusal(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def test_studies(root):
    [row] = answer("studies", root)
    assert (row["study"], row["COMPLETE"], row["PRUNED"], row["FAIL"]) == ("made", 21, 2, 2)
    assert row["best"]["name"] == "0019"
    assert "85.58%" in run("studies", root).stdout


def test_best(root, study):
    rows = answer("best", root, "made", "-k", 3)
    assert [row["name"] for row in rows] == [trial.id for trial in study.best(3)]
    assert rows[0]["config"] == study.best()[0].config
    assert rows[0]["trials"][0]["checkpoint"] == "made/checkpoints/0019/last.safetensors"
    [row] = answer("best", root, "made", "-k", 1, "--metric", "val_loss", "--mode", "max")
    assert row["name"] == study.best(metric="val_loss", mode="max")[0].id
    lines = run("best", root, "-k", 2).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["trial", "0019", "0007"]


def test_trials_are_those_of_the_store(root, study):
    rows = answer("trials", root, "made")
    assert [row["trial"] for row in rows] == study.trials()["trial"].to_pylist()
    failed = next(row for row in rows if row["trial"] == "0009")
    assert failed["last_val_top1"] is None  # NaN in the store
    assert failed["reason"] == "loss_corr became nan in epoch 2"
    assert "loss_corr became nan in epoch 2" in run("trials", root, "made").stdout


def test_curve(root, study):
    rows = answer("curve", root, "made", "0005")
    assert rows == study.curve("0005").to_pylist()
    [first, *_] = answer("curve", root, "made", "0005", "--metric", "val_loss")
    assert set(first) == {"epoch", "val_loss"}
    assert run("curve", root).stdout.startswith("trial 0019\n")  # the best one


def test_what_failed_is_said_to_have(made, tmp_path):
    made.failed(tmp_path)
    assert [row["name"] for row in answer("best", tmp_path)] == ["0001"]
    assert [row["name"] for row in answer("pareto", tmp_path)] == ["0001"]
    first = run("curve", tmp_path, "made", "kd-s1").stdout.splitlines()[0]
    assert first == "trial kd-s1, failed: val_loss became nan in epoch 8"
    states = {row["trial"]: row["state"] for row in answer("trials", tmp_path)}
    assert (states["kd"], states["kd-s1"]) == ("COMPLETE", "FAIL")


def test_pareto(made, tmp_path):
    study = made.several(tmp_path)
    rows = answer("pareto", tmp_path)
    front = study.pareto({"val_top1": "max", "params": "min"})
    assert [row["name"] for row in rows] == [trial.id for trial in front]
    [best] = answer("pareto", tmp_path, "made", "--metric", "val_top1")
    assert best["name"] == rows[0]["name"]
    chosen = ["--metric", "val_loss", "--metric", "params", "--mode", "min", "--mode", "min"]
    assert {row["name"] for row in answer("pareto", tmp_path, *chosen)} == {t.id for t in front}


def test_report_prints_the_table_and_writes_the_page(made, tmp_path):
    made.standard(tmp_path)
    result = run("report", tmp_path, "made")
    page = tmp_path / "made" / "report.html"
    assert result.stdout.splitlines()[-1] == f"page: {page}"
    assert "ITRD, best of 25 (0019)" in result.stdout
    assert page.read_text("utf-8").startswith("<!doctype html>")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the page in its folder is nothing foreign to the store
        assert raykd.open_store(tmp_path).study("made").best()


def test_report_writes_where_it_is_told(root, tmp_path):
    path = tmp_path / "page.html"
    assert run("report", root, "made", "--output", path).stdout.endswith(f"page: {path}\n")
    assert path.stat().st_size > 1_000_000
    missing = tmp_path / "missing" / "page.html"
    assert f"cannot write {missing}" in refusal("report", root, "made", "--output", missing)


def test_report_of_a_store_in_s3_is_there_and_here(made, moto_s3, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made.one(moto_s3)
    result = run("report", moto_s3)
    assert result.exit_code == 0
    assert (tmp_path / "made.html").exists()
    assert raykd.open_store(moto_s3).folder.exists("made/report.html")
    assert [row["name"] for row in answer("best", moto_s3)] == ["0000"]


def test_without_plotly_there_is_still_the_table(root, monkeypatch):
    monkeypatch.setattr("raykd.report.command.find_spec", lambda name: None)
    result = run("report", root, "made")
    assert result.exit_code == 2
    assert "85.58%" in result.stdout
    assert "pip install 'raykd[report]'" in result.stderr


def test_nothing_complete(made, tmp_path):
    made.none_complete(tmp_path)
    assert answer("best", tmp_path) == []
    assert "is complete yet" in run("best", tmp_path).stdout
    assert "is complete; name one" in refusal("curve", tmp_path)
    assert answer("studies", tmp_path)[0]["best"] is None


def test_errors_are_one_line(root, made, tmp_path):
    assert "there is no store at" in refusal("studies", tmp_path / "nowhere")
    assert "there is no study 'other'" in refusal("best", root, "other")
    assert "no trial has a metric 'speed'" in refusal("best", root, "made", "--metric", "speed")
    assert "give 'max' or 'min'" in refusal("best", root, "made", "--metric", "val_loss")
    assert "there is no trial '0099'" in refusal("curve", root, "made", "0099")
    assert "has no metric speed; known: lr, " in refusal(
        "curve", root, "made", "0001", "--metric", "speed"
    )
    assert "--mode is given 1 times for 2 objectives" in refusal(
        "pareto", root, "made", "--metric", "val_top1", "--metric", "params", "--mode", "max"
    )
    made.empty(tmp_path)
    made.write(tmp_path, [], name="second")
    assert "there are: made, second" in refusal("best", tmp_path)


def test_damaged_objects_are_named_in_a_line(made, tmp_path):
    made.standard(tmp_path)
    (tmp_path / "made" / "tail").mkdir(exist_ok=True)
    (tmp_path / "made" / "tail" / "strange.txt").write_text("?")
    result = run("best", tmp_path, "-k", 1, "--json")
    [line] = result.stderr.splitlines()
    assert line.startswith("warning: ")
    assert "strange.txt is no object of raykd; skipped" in line
    assert json.loads(result.stdout)[0]["name"] == "0019"
