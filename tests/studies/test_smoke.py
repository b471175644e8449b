"""Every study script runs as its page says, on small files in the real format.

One of them also runs by its shebang in a process of its own: tests/study/test_job.py.
"""

import importlib.util
import os
import runpy
import sys
from pathlib import Path

import pytest

from raykd.models import find
from raykd.store import open_store
from raykd.study.checks import check
from raykd.study.command_line import run_one
from raykd.train.component import Component

STUDIES = Path(__file__).parents[2] / "studies"
NAMES = sorted(path.stem for path in STUDIES.glob("*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(name, STUDIES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def smoke(name, root, monkeypatch):
    """Runs a script as `python` does, in this process, which has imported Ray and torch already."""
    monkeypatch.setenv("RAYKD_CONCURRENT", "1")  # two actors would import them twice
    script = str(STUDIES / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [script, "--smoke", "--storage", str(root)])
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        return ended.code or 0
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_smoke(name, tmp_path, monkeypatch, capfd):
    code = smoke(name, tmp_path, monkeypatch)
    told = capfd.readouterr()
    assert code == 0, told.out + told.err
    assert "Traceback" not in told.err
    store = open_store(str(tmp_path))
    assert store.studies()
    for stored in store.studies():
        rows = store.study(stored).trials().to_pylist()
        complete = [row for row in rows if row["state"] == "COMPLETE" and row["role"] != "teacher"]
        assert complete
        assert {row["state"] for row in rows} <= {"COMPLETE", "PRUNED", "FAIL"}  # some diverge
        assert all(store.folder.exists(row["checkpoint"]) for row in complete)
        assert store.folder.exists(f"{stored}/report.html")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_can_be_run_and_says_what_it_costs(name):
    assert os.access(STUDIES / f"{name}.py", os.X_OK)
    text = (STUDIES / f"{name}.py").read_text()
    assert text.startswith("#!/usr/bin/env python3\n")
    page = load(name).__doc__
    assert f"python studies/{name}.py" in page
    assert any(unit in page for unit in ("hour", "minute"))


def test_the_13_pairs():
    cifar = load("cifar100_itrd")
    pairs = cifar.SAME + cifar.CROSS
    assert len({cifar.study(pair).name for pair in pairs}) == 13
    assert all(pair in cifar.__doc__ for pair in pairs)
    for pair in pairs:
        study = cifar.study(pair)
        assert [study.teacher, study.student] == [find(name) for name in pair.split("/")]
        assert Component.of(study.method).bound["alpha"] == (1.01 if pair in cifar.SAME else 1.5)
        slow = {"mobilenetv2_half", "shufflenetv1", "shufflenetv2"}
        assert Component.of(study.optimizer).bound["lr"] == (
            0.01 if pair.split("/")[1] in slow else 0.05
        )


@pytest.mark.slow
def test_every_pair_passes_the_checks():
    cifar = load("cifar100_itrd")
    for pair in cifar.SAME + cifar.CROSS:
        study = cifar.study(pair)
        data, source = check(study.override(**study.smoke))
        assert data.classes == 100
        assert source.trained_here


def test_an_unknown_pair_is_refused(capsys):
    cifar = load("cifar100_itrd")
    studies = {pair: cifar.study(pair) for pair in cifar.SAME}
    with pytest.raises(SystemExit, match="2"):
        run_one(studies, "pair", ["--pair", "vgg13/vgg9"])
    assert "invalid choice: 'vgg13/vgg9'" in capsys.readouterr().err


def unwrapped(capsys):
    return "".join(capsys.readouterr().out.split())


def test_the_environment_names_a_pair(monkeypatch, capsys):
    monkeypatch.setenv("RAYKD_PAIR", "vgg13/vgg8")
    cifar = load("cifar100_itrd")
    studies = {pair: cifar.study(pair) for pair in cifar.SAME}
    run_one(studies, "pair", ["--help"])
    assert "cifar100_itrd-vgg13-vgg8" in unwrapped(capsys)
    run_one(studies, "pair", ["--pair", "resnet56/resnet20", "--help"])
    assert "cifar100_itrd-resnet56-resnet20" in unwrapped(capsys)
