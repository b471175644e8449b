"""The loop: every batch goes through the teacher once and then through each student."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from raykd.data import Batch, Data
from raykd.train import workers
from raykd.train.clock import Clock
from raykd.train.evaluate import evaluate
from raykd.train.student import Student
from raykd.train.teacher import Teacher


@dataclass(frozen=True)
class Row:
    """What is known of a trial after an epoch.

    Attributes:
        trial: Its name.
        epoch: Counted from 1.
        metrics: Accuracies in [0, 1], cross-entropies in nats, `loss_<term>` as weighted in the
            loss, `lr` of the epoch's last step, `seconds` of wall time that the cohort took for
            the epoch, `share_seconds` of it for this student, `data_wait_seconds` in them,
            `images_per_second` over all workers, `worker_batch` (each worker's samples of a batch,
            which relational losses depend on), `params`, and the facts of its method. The test
            set's are there after the last epoch.
        state: `RUNNING`, or how the trial ended with this epoch: `COMPLETE`, `PRUNED`, `FAIL`.
        reason: Why it ended, where that needs saying.
    """

    trial: str
    epoch: int
    metrics: dict[str, float]
    state: str = "RUNNING"
    reason: str = ""


def fit(
    students: list[Student],
    teacher: Teacher | None,
    data: Data,
    epochs: int,
    start: int = 0,
    step: int = 0,
    after: Callable[[int, int], None] = lambda epoch, step: None,
) -> Iterator[list[Row]]:
    """Trains `students` side by side; yields one row a student after each epoch.

    A student that is taken out of the list between two epochs is not trained any further. What
    one student does changes nothing for the others: not its presence, not its divergence.

    Args:
        students: In training; all see the same batches.
        teacher: Asked once a batch; None when the students learn from labels alone.
        data: The stream of batches and the splits to evaluate on.
        epochs: Epochs in all.
        start: Epochs done before, by the same students with the same data.
        step: Batches of the next epoch that they learned from as well.
        after: Called after each batch with the epochs done and the batches of the current one.
    """
    for epoch in range(start, epochs):
        if not students:
            return
        done = step if epoch == start else 0
        for student in students:
            student.begin(epoch, fresh=done == 0)
        clock = Clock()
        for number, batch in enumerate(clock.watch(data.train(epoch, done)), done):
            t = teacher(batch) if teacher else None
            weight = _weight(batch, data, number)
            for student in students:
                student.step(batch, t, weight)
            after(epoch, number + 1)
        trained = [_trained(student) for student in students]
        times = clock.metrics(len(students))
        tested = _tested(students, data, last=epoch + 1 == epochs)
        yield [
            _row(student, epoch + 1, {**a, **b, **times, **_facts(student, data)})
            for student, a, b in zip(students, trained, tested, strict=True)
        ]


def _weight(batch: Batch, data: Data, step: int) -> float:
    """This worker's share of the batch over the mean share."""
    if workers.world() == 1:
        return 1.0
    whole = min(data.batch_size, len(data) - step * data.batch_size)
    return len(batch.target) * workers.world() / whole


def _trained(student: Student) -> dict[str, float]:
    """Means over the samples of the epoch, of all workers; the first wait for the device."""
    names = sorted(student.sums)
    sums = torch.stack([student.sums[name] for name in names])
    workers.add_up(sums)
    values = dict(zip(names, sums.tolist(), strict=True))
    samples = values.pop("samples")
    means = {name: value / samples for name, value in values.items()}
    means["train_loss"] = sum(v for name, v in means.items() if name.startswith("loss_"))
    means["lr"] = student.lr
    return means


def _tested(students: Sequence[Student], data: Data, *, last: bool) -> list[dict[str, float]]:
    """The validation split's metrics, and after the last epoch the test set's, for the record."""
    models = [student.model for student in students]
    for model in models:
        workers.share_buffers(model)
    autocast = students[0].objective.autocast
    tested: list[dict[str, float]] = [{} for _ in models]
    for split, batches in (("val", data.validation), ("test", data.test))[: 1 + last]:
        for metrics, found in zip(
            tested, evaluate(models, batches(), autocast=autocast), strict=True
        ):
            metrics.update({f"{split}_{name}": value for name, value in found.items()})
    return tested


def _facts(student: Student, data: Data) -> dict[str, float]:
    share = data.batch_size / workers.world()
    own = {"params": float(student.parameters), "worker_batch": share}
    return {**student.objective.method.facts(), **own}


def _row(student: Student, epoch: int, metrics: dict[str, float]) -> Row:
    for name, value in metrics.items():
        if not math.isfinite(value):
            reason = f"{name} became {value} in epoch {epoch}"
            return Row(student.trial, epoch, metrics, "FAIL", reason)
    return Row(student.trial, epoch, metrics)
