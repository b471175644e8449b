"""The loop: every batch goes through the teacher once and then through each student."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from raykd.data import Batch, Data
from raykd.train import workers
from raykd.train.clock import Clock
from raykd.train.evaluate import evaluate
from raykd.train.failure import Guard
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
            set's are there after the last epoch. Empty where an exception ended the epoch.
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
    guard: Guard | None = None,
) -> Iterator[list[Row]]:
    """Trains `students` side by side; yields one row a student after each epoch.

    A student that is taken out of the list between two epochs is not trained any further. What
    one student does changes nothing for the others: not its presence, its divergence or failure.

    Args:
        students: In training; all see the same batches.
        teacher: Asked once a batch; None when the students learn from labels alone.
        data: The stream of batches and the splits to evaluate on.
        epochs: Epochs in all.
        start: Epochs done before, by the same students with the same data.
        step: Batches of the next epoch that they learned from as well.
        after: Called after each batch with the epochs done and the batches of the current one.
        guard: Takes a student out of the list whose own code raises an exception.
    """
    guard = guard or Guard(students)
    for epoch in range(start, epochs):
        done = step if epoch == start else 0
        for student in list(students):
            with guard(student.trial):
                student.begin(epoch, fresh=done == 0)
        clock = Clock()
        batches = clock.watch(data.train(epoch, done)) if students else ()
        for number, batch in enumerate(batches, done):
            t = teacher(batch) if teacher else None
            weight = _weight(batch, data, number)
            for student in list(students):
                with guard(student.trial):
                    student.step(batch, t, weight)
            if not students:
                break
            after(epoch, number + 1)
        rows = _rows(guard, data, clock, epoch + 1, last=epoch + 1 == epochs)
        if not rows:
            return
        yield rows


def _weight(batch: Batch, data: Data, step: int) -> float:
    """This worker's share of the batch over the mean share."""
    if workers.world() == 1:
        return 1.0
    whole = min(data.batch_size, len(data) - step * data.batch_size)
    return len(batch.target) * workers.world() / whole


def _trained(student: Student) -> dict[str, float]:
    """Resources over the samples of the epoch, of all workers; the first wait for the device."""
    sums = torch.stack([student.sums[name] for name in sorted(student.sums)])
    workers.add_up(sums)
    values = dict(zip(sorted(student.sums), sums.tolist(), strict=True))
    samples = values.pop("samples")
    means = {name: value / samples for name, value in values.items()}
    means["train_loss"] = sum(v for name, v in means.items() if name.startswith("loss_"))
    means["lr"] = student.lr
    return means


def _rows(guard: Guard, data: Data, clock: Clock, epoch: int, *, last: bool) -> list[Row]:
    """What the epoch says of each student, and of those who failed in it."""
    metrics: dict[str, dict[str, float]] = {}
    for student in list(guard.students):
        with guard(student.trial):
            metrics[student.trial] = {**_trained(student), **_facts(student, data)}
    times = clock.metrics(len(guard.students)) if guard.students else {}
    tested = _tested(guard, data, last=last) if guard.students else {}
    rows = [
        _row(trial, epoch, {**metrics[trial], **tested[trial], **times})
        for trial in (student.trial for student in guard.students)
    ]
    return rows + [Row(trial, epoch, {}, "FAIL", why) for trial, why in guard.take().items()]


def _tested(guard: Guard, data: Data, *, last: bool) -> dict[str, dict[str, float]]:
    """The validation split's metrics, and after the last epoch the test set's, for the record."""
    trials, models = zip(*((s.trial, s.model) for s in guard.students), strict=True)
    for model in models:
        workers.share_buffers(model)
    autocast = guard.students[0].loss.autocast
    tested: dict[str, dict[str, float]] = {trial: {} for trial in trials}
    for split, batches in (("val", data.validation), ("test", data.test))[: 1 + last]:
        found = evaluate(models, batches(), autocast=autocast, guard=lambda i: guard(trials[i]))
        for trial, values in zip(trials, found, strict=True):
            tested[trial].update({f"{split}_{name}": value for name, value in values.items()})
    return tested


def _facts(student: Student, data: Data) -> dict[str, float]:
    facts = {name: float(value) for name, value in student.loss.method.facts().items()}
    share = data.batch_size / workers.world()
    return {**facts, "params": float(student.parameters), "worker_batch": share}


def _row(trial: str, epoch: int, metrics: dict[str, float]) -> Row:
    for name, value in metrics.items():
        if not math.isfinite(value):
            return Row(trial, epoch, metrics, "FAIL", f"{name} became {value} in epoch {epoch}")
    return Row(trial, epoch, metrics)
