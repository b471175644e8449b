import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from optuna.distributions import FloatDistribution
from torch import nn
from typer.testing import CliRunner

from raykd.cli import app
from raykd.data.synthetic import Synthetic
from raykd.experiments.context import WorkerContext
from raykd.experiments.distillation import DistillationRunner
from raykd.export import export
from raykd.methods.itrd import ITRD
from raykd.methods.vanilla import Vanilla
from raykd.models.recu import BinaryResNet
from raykd.models.resnet import CifarResNet
from raykd.models.weights import load_weights
from raykd.search.planner import Search
from raykd.store import open_store
from raykd.study import Study, run
from raykd.study.checks import check
from raykd.study.recorder import StudyRecorder
from raykd.train.pretrain import record

SPLITS = [f"{split}_{name}" for split in ("val", "test") for name in ("top1", "top5", "loss")]


def tiny(num_classes: int, in_channels: int) -> nn.Module:
    return CifarResNet(1, (4, 4, 4, 4), num_classes, in_channels)


def study(**changes: object) -> Study:
    return Study(
        name="tiny",
        data=partial(Synthetic, classes=6, shape=(3, 8, 8), samples=120, tests=40),
        teacher=partial(CifarResNet, 1, (8, 8, 8, 8)),
        student=partial(BinaryResNet, (4, 8), 1, True),
        method=ITRD,
        space={"alpha": FloatDistribution(1.0, 2.0)},
        references=[Vanilla],
        trials=2,
        cohort=3,
        epochs=2,
        batch_size=16,
    ).override(**changes)


def teach(study: Study, root: str) -> None:
    """What `Study.run` does, without Ray: one cohort in this process."""
    data, source = check(study)
    store = open_store(root, create=True)
    with store.writer(study.name, run._spec(study, data, source, store.folder)) as writer:
        list(source.train(store.folder, data, torch.device("cpu")))
        recorder = StudyRecorder(study, Search(study.search_config(1)), writer, store.folder)
        recorder.teacher(record(source.load(store.folder), data))
        runner = DistillationRunner(
            study.name, study.distillation, store.folder, source, Path.cwd()
        )
        plan = recorder.take()
        for rows in runner.run(plan, WorkerContext()):
            recorder.rows(plan, rows)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("results"))
    teach(study(), root)
    return root


@pytest.fixture
def cli():
    return lambda *words: CliRunner().invoke(app, list(words))


def logits(program, taken):
    """Of the test set, in batches of another size than the exported example's."""
    data = export._open(taken, "", None, "cpu")
    inputs = torch.cat([batch.input for batch in data.test()])
    targets = torch.cat([batch.target for batch in data.test()])
    return torch.cat([program(part) for part in inputs.split(9)]), targets


@pytest.mark.parametrize("trial", ["0000", "0001", "vanilla"])
def test_the_stored_accuracy_again(root, trial):
    taken = export.take(root, "tiny", trial)
    again = export.evaluate_student(taken, device="cpu")
    assert list(again) == SPLITS
    for name, value in again.items():
        if name.startswith("val_") or taken.trial.state == "COMPLETE":
            assert value == pytest.approx(taken.trial.metrics[name], abs=1e-6), name


def test_best_is_the_default(root):
    [best] = open_store(root).study("tiny").best()
    assert export.take(root, "tiny").trial.id == best.id


def test_safetensors_and_its_card(root, tmp_path, cli):
    folder = tmp_path / "student"
    done = cli("export", root, "tiny", "--trial", "0000", "--output", str(folder))
    assert done.exit_code == 0, done.output
    assert done.output.strip() == str(folder / "model.safetensors")
    text = (folder / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    taken = export.take(root, "tiny", "0000")
    torch.manual_seed(0)
    space = {"images": torch.randn(3, 3, 8, 8)}
    exec(code.replace("model.safetensors", str(folder / "model.safetensors")), space)
    torch.testing.assert_close(space["logits"], taken.model(space["images"]).logits)
    for said in ("BinaryResNet, taught by CifarResNet with itrd", "alpha", "torch (version)"):
        assert said in text
    assert f"{taken.trial.metrics['test_top1']:.4f}" in text


def test_the_card_of_a_failed_student_says_so(root, tmp_path):
    taken = export.take(root, "tiny", "0000")
    failed = replace(taken.trial, state="FAIL", reason="loss_kd became nan in epoch 2")
    export.export(replace(taken, trial=failed), "safetensors", tmp_path / "student")
    text = (tmp_path / "student" / "README.md").read_text()
    assert "ended as FAIL" in text
    assert "became nan in epoch 2" in text
    assert "the last one" not in text


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_programs_give_the_stored_accuracy(root, tmp_path, format):
    taken = export.take(root, "tiny", "0001")
    file = export.export(taken, format, tmp_path / format)
    if format == "torch":
        program = torch.export.load(file).module()
    else:
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(str(file))

        def program(images):
            return torch.from_numpy(session.run(["logits"], {"image": images.numpy()})[0])

    found, targets = logits(program, taken)
    expected, _ = logits(lambda images: taken.model(images).logits.detach(), taken)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    top1 = (found.argmax(1) == targets).double().mean().item()
    assert top1 == pytest.approx(taken.trial.metrics["test_top1"], abs=1e-6)


def test_evaluate_command(root, cli):
    done = cli("evaluate", root, "tiny", "--best")
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in SPLITS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "--trial", "0009"], "there is no trial '0009'"),
        (["export", "--trial", "0000", "--best"], "both given"),
        (["export", "--format", "tflite"], "known: safetensors, onnx, torch"),
        (["export", "--trial", "teacher"], "has no checkpoint"),
        (["evaluate", "--data-root", "elsewhere"], "have no folder"),
        (["export", "--student", "nowhere:model"], "No module named 'nowhere'"),
        (["export", "--student", "raykd.models.vgg:vgg8"], "don't fit VGG"),
    ],
)
def test_what_can_not_be(root, cli, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    command, *options = words
    done = cli(command, root, "tiny", *options)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())


def test_a_folder_in_use_is_left_alone(root, cli, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    done = cli("export", root, "tiny", "--output", str(tmp_path))
    assert done.exit_code == 2
    assert "not empty" in " ".join(done.output.split())
    assert (tmp_path / "README.md").read_text() == "mine"


def test_other_data_are_refused(tmp_path):
    teach(study(), str(tmp_path))
    file = tmp_path / "tiny" / "study.json"
    spec = json.loads(file.read_text())
    spec["made_by"]["data"]["arguments"]["samples"] = 130
    file.write_text(json.dumps(spec))
    with pytest.raises(ValueError, match=r"not the data of the study.*sha256"):
        export.evaluate_student(export.take(str(tmp_path), "tiny"))


def test_a_network_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__].tiny, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "tiny", tiny, raising=False)
    teach(study(student=tiny, trials=1, cohort=1), str(tmp_path))
    with pytest.raises(ValueError, match=r"__main__:tiny.*give --student module:function"):
        export.take(str(tmp_path), "tiny")
    monkeypatch.setitem(sys.modules, "my_networks", sys.modules[__name__])
    taken = export.take(str(tmp_path), "tiny", student="my_networks:tiny")
    file = export.export(taken, "safetensors", tmp_path / "student")
    assert "from my_networks import tiny" in (tmp_path / "student" / "README.md").read_text()
    twin = tiny(6, 3)
    load_weights(twin, file)
