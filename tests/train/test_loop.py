"""What an epoch says of a student, and who is trained at all."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import Plain, synthetic
from torch import Tensor

import raykd.train.loop
from raykd.data import Batch
from raykd.data.synthetic import Synthetic
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.train.evaluate import evaluate
from raykd.train.loop import Row, fit
from raykd.train.recipe import Recipe
from raykd.train.student import Student
from raykd.train.teacher import Teacher

METRICS = {
    *("loss_ce", "train_loss", "train_top1", "lr", "params", "worker_batch"),
    *("seconds", "share_seconds", "data_wait_seconds", "images_per_second"),
    *(f"{split}_{name}" for split in ("val", "test") for name in ("top1", "top5", "loss")),
}


def student(trial: str = "a", method: Any = Vanilla, seed: int = 0) -> Student:
    t = Output(torch.zeros(2, 4), (), torch.zeros(2, 8))
    recipe, example = Recipe(epochs=3, milestones=(1,)), torch.zeros(2, 1, 8, 8)
    return Student(trial, Plain, method, example, t, recipe, 4, seed=seed)


def rows(students: list[Student], **options: Any) -> list[list[Row]]:
    return list(fit(students, None, synthetic(), 3, **options))


def test_a_row_for_each_student_after_each_epoch() -> None:
    history = rows([student("a"), student("b")])
    told = [[(row.trial, row.epoch, row.state) for row in epoch] for epoch in history]
    assert told == [[("a", e, "RUNNING"), ("b", e, "RUNNING")] for e in (1, 2, 3)]


def test_metrics() -> None:
    taught = student()
    data = synthetic()
    [first], [second], [third] = fit([taught], None, data, 3)
    assert set(third.metrics) == METRICS
    tested = {"test_top1", "test_top5", "test_loss"}
    assert set(first.metrics) == set(second.metrics) == METRICS - tested
    assert first.metrics["train_loss"] == first.metrics["loss_ce"]
    assert third.metrics["train_loss"] < first.metrics["train_loss"]
    assert [first.metrics["lr"], second.metrics["lr"]] == pytest.approx([0.05, 0.005])
    assert first.metrics["params"] == sum(p.numel() for p in Plain().parameters())
    [val] = evaluate([taught.model], data.validation())
    [test] = evaluate([taught.model], data.test())
    assert {f"val_{name}": value for name, value in val.items()}.items() <= third.metrics.items()
    assert {f"test_{name}": value for name, value in test.items()}.items() <= third.metrics.items()


def test_training_metrics_are_means_over_samples() -> None:
    """Each batch counts by its size: the last one is smaller."""

    class Still(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            return {"size": s.logits.sum() * 0 + len(batch.target)}

    data = Synthetic(classes=4, shape=(1, 8, 8), samples=80, tests=16, batch_size=24)
    [[row]] = fit([student(method=Still)], None, data, 1)
    assert row.metrics["loss_size"] == pytest.approx((24 * 24 + 24 * 24 + 16 * 16) / 64)


def test_terms_add_up_to_the_loss(teacher: Teacher) -> None:
    [[row]] = fit([student(method=KD)], teacher, synthetic(), 1)
    parts = row.metrics["loss_ce"] + row.metrics["loss_kd"]
    assert row.metrics["train_loss"] == pytest.approx(parts)


def test_throughput_counts_the_wait_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up clock: two seconds for each batch to come, one for each step."""
    now = 100.0

    class Slow(Synthetic):
        def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
            nonlocal now
            for batch in super().train(epoch):
                now += 2
                yield batch

    class Working(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            nonlocal now
            now += 1
            return super().forward(s, t, batch)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    data = Slow(classes=4, shape=(1, 8, 8), samples=80, tests=16, batch_size=16)
    students = [student("a", Working), student("b", Working)]
    [[row, _]] = fit(students, None, data, 1)
    assert row.metrics["data_wait_seconds"] == 4 * 2
    assert row.metrics["seconds"] == 4 * (2 + 2)
    assert row.metrics["share_seconds"] == 8
    assert row.metrics["images_per_second"] == 64 / 16


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_fails(value: float) -> None:
    class Breaking(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            return {"ce": super().forward(s, t, batch)["ce"], "odd": s.logits.sum() * 0 + value}

    [bad, good] = rows([student("bad", Breaking), student("good")])[0]
    assert (bad.state, bad.reason) == ("FAIL", f"loss_odd became {value} in epoch 1")
    assert good.state == "RUNNING"
    assert all(math.isfinite(metric) for metric in good.metrics.values())


def test_weights_that_diverge_behind_a_finite_loss_fail() -> None:
    taught = student()
    epochs = fit([taught], None, synthetic(), 2)
    next(epochs)
    with torch.no_grad():
        taught.model.head.bias[0] = float("nan")
    [row] = next(epochs)
    assert row.state == "FAIL"


def test_who_leaves_the_list_is_not_trained_further() -> None:
    students = [student("a"), student("b")]
    epochs = fit(students, None, synthetic(), 3)
    next(epochs)
    gone = students.pop(0)
    before = gone.model.head.weight.clone()
    assert [[row.trial for row in epoch] for epoch in epochs] == [["b"], ["b"]]
    assert torch.equal(gone.model.head.weight, before)


def test_without_students_there_is_nothing_to_do() -> None:
    students = [student()]
    epochs = fit(students, None, synthetic(), 3)
    next(epochs)
    students.clear()
    assert list(epochs) == []
    assert rows([]) == []


def test_goes_on_from_an_epoch() -> None:
    assert [[row.epoch for row in epoch] for epoch in rows([student()], start=1)] == [[2], [3]]
    assert rows([student()], start=3) == []


def test_the_teacher_is_asked_once_a_batch(teacher: Teacher) -> None:
    asked = []

    class Asked(Teacher):
        def __call__(self, batch: Batch) -> Output:
            asked.append(len(batch.target))
            return super().__call__(batch)

    [_] = fit([student("a"), student("b"), student("c")], Asked(teacher.model), synthetic(), 1)
    assert asked == [16] * 4


def test_the_loop_stays_short() -> None:
    """Loops grow unless something stops them."""
    assert len(Path(raykd.train.loop.__file__).read_text().splitlines()) < 150


class Told(Vanilla):
    """A method that found something out."""

    def facts(self) -> dict[str, float]:
        return {"reconstruction": 0.25}


def test_facts_of_the_method_stand_among_the_metrics() -> None:
    for [plain, told] in rows([student("a"), student("b", Told)]):
        assert told.metrics["reconstruction"] == 0.25
        assert "reconstruction" not in plain.metrics
