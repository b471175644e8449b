"""What `--smoke` makes of a study that does not say."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from raykd.data.cifar import CIFAR100
from raykd.data.imagenet import Images
from raykd.data.synthetic import Synthetic, make, write_images
from raykd.models.imagenet import resnet18, resnet34
from raykd.models.resnet import CifarResNet
from raykd.study import Study
from raykd.study.checks import check
from raykd.study.smoke import smoked
from raykd.train.component import Component

Make = Callable[..., Study]


def smoke(study: Study) -> Study:
    return study.override(**smoked(study))


class Mine(Synthetic):
    """A user's own data set, in a file that only the user has."""

    def __init__(self, *, file: str, **stream: Any) -> None:
        if not Path(file).is_file():
            raise FileNotFoundError(file)
        super().__init__(classes=7, shape=(2, 12, 20), **stream)


def test_a_setting_of_the_study_is_taken_as_it_is(study: Make) -> None:
    assert smoked(study(smoke={"epochs": 1})) == {"name": "small_smoke", "epochs": 1}


def test_a_study_without_a_setting_becomes_one_of_a_few_steps(study: Make) -> None:
    whole = study(epochs=200, milestones=(100, 150), trials=400, cohort=8, seeds=3, batch_size=64)
    small = smoke(whole)
    assert (small.name, small.epochs, small.trials, small.seeds) == ("small_smoke", 2, 2, 1)
    assert (small.method, small.space, small.recipe.optimizer) == (
        whole.method,
        whole.space,
        whole.recipe.optimizer,
    )
    data, source = check(small)
    assert (data.classes, data.shape) == (4, (1, 8, 8))
    assert len(data) == 4 * small.batch_size
    assert source.recipe.epochs == 1


@pytest.mark.parametrize("there", [True, False])
def test_photographs(study: Make, tmp_path: Path, there: bool) -> None:
    root = tmp_path / "photos"
    if there:
        write_images(root, make(3, (3, 40, 48), 60, 12))
    data, _ = check(
        smoke(
            study(
                data=partial(Images, root=str(root), size=32, decoders=0),
                teacher=partial(resnet34, weights="IMAGENET1K_V1"),
                student=resnet18,
                teacher_weights=str(tmp_path / "not there.pth"),
                teacher_sha256="0" * 64,
            )
        )
    )
    assert (data.classes, data.shape) == (3 if there else 10, (3, 32, 32))


def test_data_of_the_users_own(study: Make, tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    mine = study(data=partial(Mine, file=str(file)))
    with pytest.raises(ValueError, match=r"can't be opened .*mine.npz.*give the study smoke="):
        smoked(mine)
    file.write_bytes(b"")
    assert Component.of(smoked(mine)["data"]).bound["shape"] == (2, 12, 20)
    assert Component.of(smoked(mine)["data"]).bound["classes"] == 7


def test_data_that_are_given_are_taken(study: Make, tmp_path: Path) -> None:
    mine = study(data=partial(Mine, file=str(tmp_path / "not there")))
    assert smoked(mine, Synthetic)["data"] is Synthetic


def test_a_class_that_knows_its_classes_need_not_be_opened(study: Make, tmp_path: Path) -> None:
    class Small(CIFAR100):
        shape = (3, 32, 32)

    made = smoked(study(data=partial(Small, root=str(tmp_path))))["data"]
    assert Component.of(made).bound["classes"] == 100


def test_a_network_without_an_argument_for_weights_is_left_alone(study: Make) -> None:
    def own(num_classes: int) -> nn.Module:
        return CifarResNet(1, (4, 4, 4, 4), num_classes=num_classes)

    assert smoked(study(student=own))["student"] is own


def test_every_worker_has_a_share_of_a_batch(study: Make) -> None:
    small = smoke(study(workers=4, batch_size=256, accumulate=32))
    assert small.batch_size == 4 * 32
    check(small)
