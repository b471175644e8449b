"""Each bad input gives one clear sentence, and nothing is trained."""

import hashlib
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from torch import Tensor, nn
from torch.optim import SGD

import raykd.train.cohort
from raykd.data.cifar import CIFAR10
from raykd.data.imagenet import Images
from raykd.data.synthetic import Synthetic, write_images
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.models.resnet import CifarResNet
from raykd.study import Study
from raykd.study.checks import check
from raykd.train.halving import Halving

Make = Callable[..., Study]
FLOAT = FloatDistribution


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(raykd.train.cohort, "fit", fit)


def complaint(study: Study) -> str:
    with pytest.raises(ValueError, match=r"\w") as told:
        check(study)
    return str(told.value)


def test_a_sound_study_passes(study: Make) -> None:
    data, source = check(study())
    assert len(data) == 64
    assert source.trained_here


class Twice(nn.Module):
    """A user's network that does not know of `Output`."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def deaf(num_classes: int = 7) -> nn.Module:
    """A factory of a fixed number of classes."""
    return CifarResNet(1, (4, 4, 4, 4), 7, 1)


def coloured(num_classes: int) -> nn.Module:
    """A factory for colour images, whatever the data."""
    return CifarResNet(1, (4, 4, 4, 4), num_classes, 3)


SPACE = {"alpha": FLOAT(1.0, 2.0)}
SMALL = {"classes": 4, "shape": (1, 8, 8)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, ["name is ''", "use letters"]),
        ({"name": "a/b"}, ["'a/b'", "use letters"]),
        ({"trials": -1}, ["trials is -1", "at least 0"]),
        ({"cohort": 0}, ["cohort is 0", "at least 1"]),
        ({"seeds": 0}, ["seeds is 0", "at least 1"]),
        ({"seed": -1}, ["seed is -1", "0 or more"]),
        ({"workers": -1}, ["workers is -1", "at least 0"]),
        ({"concurrent": 0}, ["concurrent is 0", "at least 1"]),
        ({"cpus": 0.0}, ["cpus is 0.0", "such as 1"]),
        ({"batch_size": 0}, ["batch_size is 0", "at least 1"]),
        ({"epochs": 0}, ["epochs is 0", "at least one"]),
        ({"milestones": (2, 1)}, ["(2, 1)", "must grow"]),
        ({"schedule": "poly"}, ["'poly'", "known: milestones, cosine"]),
        ({"precision": "float16"}, ["'float16'", "known: float32, bfloat16"]),
        ({"sampler": "grid"}, ["'grid'", "known: tpe, gp, random, qmc"]),
        ({"min_workers": 2, "workers": 1}, ["min_workers is 2", "between 1 and that"]),
        ({"space": {}}, ["5 trials but no space", "trials=1"]),
        ({"space": {}, "trials": 0, "references": ()}, ["nothing to do"]),
        (
            {"space": {"alhpa": FLOAT(1, 2)}},
            ["'alhpa'", "itrd has (alpha, beta_corr", "the optimizer (", "lr, "],
        ),
        ({"first": [{"gamma": 1.0}]}, ["'gamma'", "itrd has (alpha"]),
        ({"first": [{"beta_mi": 1.0}]}, ["sets beta_mi, which the space does not", "search it"]),
        ({"method": partial(ITRD, beta=1)}, ["itrd has no beta", "alpha, beta_corr"]),
        ({"references": (partial(KD, tau=2),)}, ["kd has no tau", "temperature"]),
        ({"optimizer": partial(SGD, lr=0.1, momentun=0.9)}, ["has no momentun", "momentum"]),
        ({"space": {"alpha": FLOAT(0.5, 2)}}, ["alpha is 0.5", "above 0.5"]),
        ({"method": partial(ITRD, alpha=0.2), "space": {}, "trials": 1}, ["alpha is 0.2"]),
        ({"space": {"alpha": CategoricalDistribution([1.01, 0.3])}}, ["alpha is 0.3"]),
        ({"references": (partial(KD, temperature=0.0),)}, ["temperature is 0.0", "above 0"]),
        ({"space": {"lr": FLOAT(-0.1, 0.1)}}, ["with lr=-0.1", "Invalid learning rate", "narrow"]),
        ({"first": [{"alpha": 3.0}]}, ["alpha=3.0", "lies outside"]),
        ({"first": [{"alpha": "big"}]}, ["alpha=big", "lies outside"]),
        ({"metric": "test_top1"}, ["'test_top1'", "a test set is never chosen by", "val_top1"]),
        ({"metric": "train_loss"}, ["'train_loss' can't be an objective", "take val_top1"]),
        ({"mode": "maximize"}, ["'maximize'", "'max' or 'min'"]),
        ({"metric": ("val_top1", "params")}, ["2 metrics and 1 modes", "one mode for each"]),
        ({"halving": Halving((3,))}, ["rungs [3]", "after epoch 3", "before the last epoch"]),
        ({"batch_size": 65}, ["batch size is 65", "number of training samples, 64"]),
        ({"workers": 65}, ["65 workers and 64 training samples", "use fewer"]),
        ({"batch_size": 63, "workers": 2}, ["a batch of 1 samples can't be shared by 2 workers"]),
        ({"data": partial(Synthetic, **SMALL, validation=0.0)}, ["no validation", "hold some out"]),
        ({"data": partial(Synthetic, **SMALL, smaples=3)}, ["smaples", "correct its arguments"]),
        ({"data": partial(Synthetic, classes=1)}, ["1 class; at least 2"]),
        ({"student": deaf}, ["student tells 7 classes apart, and the data has 4", "agree"]),
        ({"teacher": deaf}, ["teacher tells 7 classes apart", "agree"]),
        ({"student": coloured}, ["the student can't be", "(1, 8, 8)", "fit each other"]),
        (
            {"teacher": partial(CifarResNet, 1, depth=3)},
            ["teacher's CifarResNet does not take", "depth", "blocks"],
        ),
        ({"student": Twice}, ["the student returns a Tensor", "wrap the network with"]),
        ({"teacher": Twice}, ["the teacher returns a Tensor", "wrap the network with"]),
        ({"method": CifarResNet}, ["is no method; give a class of raykd.methods"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else ", ".join(value),
)
def test_bad_input(study: Make, changes: dict[str, Any], words: list[str]) -> None:
    text = complaint(study(**changes))
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_none_may_be_a_choice(study: Make) -> None:
    space = {"gamma": CategoricalDistribution([None, 0.5])}
    check(study(method=KD, space=space))


def test_missing_data_folder(study: Make, tmp_path: Path) -> None:
    text = complaint(study(data=partial(CIFAR10, tmp_path / "none")))
    assert f"{tmp_path}/none/cifar-10-batches-py, which is missing; unpack the archive" in text


def test_damaged_data_folder(study: Make, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps({})[:3])
    text = complaint(study(data=partial(CIFAR10, tmp_path)))
    assert "which is damaged; unpack the archive" in text


def test_image_folders(study: Make, tmp_path: Path) -> None:
    missing = complaint(study(data=partial(Images, str(tmp_path / "none"), size=8)))
    assert str(tmp_path / "none") in missing
    made = Synthetic(classes=2, shape=(3, 8, 8), samples=20, batch_size=4)
    write_images(tmp_path / "one", made.load())
    for path in (tmp_path / "one").glob("*/class001/*"):
        path.unlink()
    for path in (tmp_path / "one").glob("*/class001"):
        path.rmdir()
    text = complaint(study(data=partial(Images, str(tmp_path / "one"), size=8), batch_size=4))
    assert "1 class; at least 2 are needed" in text


def save_teacher(path: Path, *widths: int) -> str:
    torch.save({"model": CifarResNet(1, widths, 4, 1).state_dict()}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_teacher_weights(study: Make, tmp_path: Path) -> None:
    file = tmp_path / "teacher.pth"
    sha256 = save_teacher(file, 8, 8, 8, 8)
    _, source = check(study(teacher_weights=str(file), teacher_sha256=sha256))
    assert not source.trained_here


def test_teacher_weights_of_another_shape(study: Make, tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher.pth", 16, 16, 16, 16)
    text = complaint(study(teacher_weights=str(tmp_path / "teacher.pth")))
    assert "conv1.weight is (16, 1, 3, 3) and should be (8, 1, 3, 3)" in text
    assert text.endswith("choose the model and the number of classes that they were trained with")


def test_teacher_weights_that_are_another_file(study: Make, tmp_path: Path) -> None:
    sha256 = save_teacher(tmp_path / "teacher.pth", 8, 8, 8, 8)
    wrong = study(teacher_weights=str(tmp_path / "teacher.pth"), teacher_sha256="0" * 64)
    text = complaint(wrong)
    assert sha256 in text
    assert text.endswith("fetch it again, or correct the expected value")


def test_missing_teacher_weights(study: Make, tmp_path: Path) -> None:
    text = complaint(study(teacher_weights=str(tmp_path / "none.pth")))
    assert f"the weights {tmp_path}/none.pth can't be read" in text


def test_truncated_teacher_weights(study: Make, tmp_path: Path) -> None:
    file = tmp_path / "teacher.pth"
    save_teacher(file, 8, 8, 8, 8)
    file.write_bytes(file.read_bytes()[:-100])
    text = complaint(study(teacher_weights=str(file)))
    assert "is neither safetensors nor a checkpoint" in text


def test_a_method_that_cannot_teach_this_pair(study: Make) -> None:
    class Picky(Vanilla):
        def __init__(self, s: Output, t: Output) -> None:
            super().__init__(s, t)
            raise ValueError("the stages differ; choose another student")

    assert complaint(study(references=(Picky,))) == "the stages differ; choose another student"
