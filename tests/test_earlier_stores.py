"""A store that version 0.1 wrote is opened, asked, shown and exported by this version."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raykd import open_store
from raykd.cli import app
from raykd.models.resnet import CifarResNet
from raykd.models.weights import load_weights
from raykd.store import StoreError

STORED = Path(__file__).parent / "data" / "store_0.1"


@pytest.fixture
def root(tmp_path: Path) -> str:
    shutil.copytree(STORED, tmp_path / "store")
    return str(tmp_path / "store")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_queries_answer_as_they_did(root: str) -> None:
    study = open_store(root).study("tiny")
    assert study.warnings == []
    [best] = study.best(1)
    assert (best.id, best.metrics["val_top1"], best.epoch) == ("0001", 0.55, 5)
    assert best.config == pytest.approx({"alpha": 1.973, "lr": 0.009495}, rel=1e-3)
    assert study.trials().num_rows == 5
    assert study.curve("0001").num_rows == 5


def test_the_command_line_shows_it(root: str) -> None:
    [best] = json.loads(run("best", root, "tiny", "-k", "1", "--json"))
    assert best["name"] == "0001"
    run("report", root, "tiny")
    assert "ITRD" in (Path(root) / "tiny" / "report.html").read_text()


def test_a_student_is_exported_and_measured_again(root: str, tmp_path: Path) -> None:
    run("export", root, "tiny", "--trial", "0001", "--output", str(tmp_path / "student"))
    load_weights(
        CifarResNet(1, (4, 4, 4, 4), 4, 1), str(tmp_path / "student" / "model.safetensors")
    )
    assert "0.550000" in run("evaluate", root, "tiny", "--trial", "0001")


def test_it_is_not_continued(root: str) -> None:
    spec = open_store(root).study("tiny").spec
    with pytest.raises(StoreError, match=r"earlier version .* but not continued"):
        open_store(root).writer("tiny", spec).__enter__()
