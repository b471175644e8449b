"""A teacher is trained once, goes on after a stop, or comes from a file."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import network, synthetic
from safetensors.torch import save_file
from torch import nn
from torch.optim import SGD

from raykd.data import Data
from raykd.store import Folder
from raykd.train.loop import Row
from raykd.train.pretrain import Source, record
from raykd.train.recipe import Recipe
from raykd.train.teacher import digest

CPU = torch.device("cpu")


@pytest.fixture
def data() -> Data:
    return synthetic()


@pytest.fixture
def source(data: Data) -> Source:
    return Source(partial(network, 4), data.describe(), Recipe(epochs=3, milestones=(2,)))


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Folder]:
    return lambda name: Folder(tmp_path / name)


def test_is_trained_once_and_loaded_as_trained(source: Source, data: Data, folder: Any) -> None:
    store = folder("store")
    assert source.trained_here
    assert not source.ready(store)
    rows = list(source.train(store, data, CPU))
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows[-1].state == "COMPLETE"
    assert source.ready(store)
    model = source.load(store)
    assert record(model, data)["val_top1"] == rows[-1].metrics["val_top1"]
    assert record(model, data)["test_loss"] == pytest.approx(rows[-1].metrics["test_loss"])
    assert digest(source.load(store)) == digest(model)
    assert len(store.list("")) == 2, "the record and the weights; nothing of the training is left"


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_goes_on_after_a_stop(source: Source, data: Data, folder: Any, epoch: int) -> None:
    expected = list(source.train(folder("unbroken"), data, CPU))
    for row in source.train(folder("store"), data, CPU):
        if row.epoch == epoch:
            break
    assert not source.ready(folder("store"))
    trained: list[Row] = list(source.train(folder("store"), data, CPU))
    assert [row.metrics["val_loss"] for row in trained] == [
        row.metrics["val_loss"] for row in expected
    ]
    assert digest(source.load(folder("store"))) == digest(source.load(folder("unbroken")))


@pytest.mark.parametrize(
    "change",
    [
        {"make": partial(network, 8)},
        {"data": {"seed": 1}},
        {"recipe": Recipe(epochs=4)},
        {"seed": 1},
    ],
)
def test_another_teacher_is_trained_for_another_need(
    source: Source, folder: Any, data: Data, change: dict[str, Any]
) -> None:
    list(source.train(folder("store"), data, CPU))
    assert not replace(source, **change).ready(folder("store"))


def test_a_teacher_that_diverges_is_not_kept(source: Source, data: Data, folder: Any) -> None:
    hot = replace(source, recipe=Recipe(epochs=3, optimizer=partial(SGD, lr=1e30)))
    for _ in range(2):  # the second run finds the checkpoint of the first
        with pytest.raises(RuntimeError, match=r"training failed: .* lower learning rate"):
            list(hot.train(folder("store"), data, CPU))
    assert not hot.ready(folder("store"))


def test_asked_for_before_it_is_trained(source: Source, folder: Any) -> None:
    with pytest.raises(RuntimeError, match="before it was trained"):
        source.load(folder("store"))


def test_weights_from_a_file(source: Source, folder: Any, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = network(4)
    file = tmp_path / "teacher.safetensors"
    save_file(model.state_dict(), file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    given = replace(source, weights=str(file), sha256=sha256)
    assert not given.trained_here
    assert given.ready(folder("store"))
    assert digest(given.load(folder("store"))) == digest(model)
    assert folder("store").list("") == []


def test_wrong_weights_are_told(source: Source, folder: Any, tmp_path: Path) -> None:
    file = tmp_path / "teacher.safetensors"
    save_file(network(8).state_dict(), file)
    given = replace(source, weights=str(file))
    with pytest.raises(ValueError, match=r"conv1.weight is \(8, 1, 3, 3\) and should be \(4, 1"):
        given.load(folder("store"))
    with pytest.raises(ValueError, match="expected 00ff; it is another file or was damaged"):
        replace(given, sha256="00ff").load(folder("store"))
    with pytest.raises(ValueError, match="can't be read"):
        replace(given, weights=str(tmp_path / "none.pt")).load(folder("store"))


def test_a_pretrained_network_is_taken_as_it_is(source: Source, folder: Any) -> None:
    kept = network(4)

    def pretrained() -> nn.Module:
        return kept

    given = replace(source, make=pretrained, pretrained=True)
    assert not given.trained_here
    assert given.ready(folder("store"))
    assert given.load(folder("store")) is kept


def test_record_says_what_a_teacher_can_do(data: Data) -> None:
    model = network(4)
    known = record(model, data)
    assert set(known) == {
        *(f"{split}_{name}" for split in ("val", "test") for name in ("top1", "top5", "loss")),
        "params",
    }
    assert known["params"] == sum(p.numel() for p in model.parameters())
