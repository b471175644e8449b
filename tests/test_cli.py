import json
import subprocess
import sys
from types import ModuleType

import pytest
from typer.testing import CliRunner

import raykd
from raykd.cli import app


@pytest.fixture
def root(tmp_path):
    spec = {"metric": ["val_top1"], "mode": ["max"], "space": {}}
    start = {"trial": "0000", "number": 0, "cohort": "0000", "role": "search", "method": "itrd"}
    with raykd.open_store(tmp_path, create=True).writer("tiny", spec) as writer:
        writer.append(
            [
                {"kind": "trial", **start, "seed": 0, "config": {"alpha": 1.5}, "time": ""},
                {"kind": "report", "trial": "0000", "epoch": 1, "metrics": {"val_top1": 0.5}},
                {"kind": "end", "trial": "0000", "state": "COMPLETE", "params": 7},
            ]
        )
    return str(tmp_path)


def test_help_names_every_command():
    text = CliRunner().invoke(app, ["--help"]).stdout
    for name in ("studies", "best", "trials", "curve", "pareto", "report", "pack"):
        assert name in text
    assert "Usage" in CliRunner().invoke(app, []).output


def test_errors_are_one_line_and_exit_with_2(tmp_path):
    result = CliRunner().invoke(app, ["best", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: there is no store at")
    assert len(result.stderr.splitlines()) == 1


def test_best_imports_neither_torch_nor_ray_nor_optuna(root):
    code = (
        "import sys; from raykd.cli import app\n"
        f"app(['best', {root!r}, '--json'], standalone_mode=False)\n"
        "heavy = {'torch', 'ray', 'optuna', 'plotly'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["config"] == {"alpha": 1.5}


@pytest.mark.slow
def test_report_as_a_module_imports_neither_torch_nor_ray(root, tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "raykd.cli", "report", root, "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiny" / "report.html").exists()
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "optuna" in imported
    assert not imported & {"torch", "ray"}


def test_pack_reports_what_it_packed(monkeypatch, tmp_path):
    calls = []

    def pack(source, destination, *, shard_images, progress):
        calls.append((source, destination, shard_images))
        progress(3, 1200)
        return {"train": 1200, "val": 50}

    module = ModuleType("raykd.data.pack")
    module.pack = pack
    monkeypatch.setitem(sys.modules, "raykd.data.pack", module)
    monkeypatch.setattr("raykd.data.pack", module, raising=False)
    result = CliRunner().invoke(app, ["pack", "images", "shards", "--shard-images", "64"])
    assert result.exit_code == 0, result.output
    assert result.stdout == "shards: 1,200 in train, 50 in val\n"
    assert calls == [("images", "shards", 64)]


def test_pack_of_nothing_is_one_line(tmp_path):
    result = CliRunner().invoke(app, ["pack", str(tmp_path / "none"), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ["best", "{}"],
        ["best", "results", "{}"],
        ["report", "results", "--output={}"],
        ["pack", "images", "{}"],
        ["doctor", "--storage", "{}", "--data", "{}"],
        ["export", "results", "study", "--trial", "{}"],
        ["evaluate", "results", "study", "--data-root", "{}"],
        ["{}"],
        ["best", "results", "study", "{}"],
    ],
)
def test_credentials_are_refused_and_not_repeated(words):
    address = "s3://AKIA:sec/ret+%@bucket/x"
    result = CliRunner().invoke(app, [word.format(address) for word in words])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the command line holds credentials")
    assert not any(part in result.output for part in ("AKIA", "sec/", "ret+"))
