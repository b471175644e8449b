"""The training loop: each batch goes through the teacher once, then through every student."""

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
    """The metrics and the state of a trial after an epoch.

    Attributes:
        trial: Name of the trial.
        epoch: Number of the epoch, from 1.
        metrics: Accuracies in [0, 1], cross-entropies in nats, `loss_<term>` as weighted in the
            loss, `lr` of the epoch's last step, the cohort's wall time `seconds`, this student's
            part of it `share_seconds`, the wait for data in it `data_wait_seconds`,
            `images_per_second` over all workers, `worker_batch` (each worker's samples of a batch,
            which relational losses depend on), `params`, and the facts of the method. Those of
            the test set follow the last epoch only. Empty if an exception ended the epoch.
        state: `RUNNING`, or the state in which the trial ended: `COMPLETE`, `PRUNED` or `FAIL`.
        reason: Reason why the trial was pruned or failed; otherwise empty.
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
    """Trains `students` side by side; yields one row per student after each epoch.

    A student that is removed from the list between two epochs is not trained any further. No
    student affects the numbers of another: not by its presence, its divergence or its failure.

    Args:
        students: Students to train; all see the same batches.
        teacher: Network that runs once per batch; None if the students learn from labels alone.
        data: Data set: the stream of training batches and the splits to evaluate on.
        epochs: Total number of epochs.
        start: Number of epochs for which these students were trained before, on the same data.
        step: Number of batches of the next epoch on which they were trained as well.
        after: Callback after each batch; gets the epochs done and the current epoch's batches.
        guard: Guard that removes a student whose own code raises an exception from the list.
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
    """Returns the size of this worker's part of the batch, divided by the workers' mean size."""
    if workers.world() == 1:
        return 1.0
    whole = min(data.batch_size, len(data) - step * data.batch_size)
    return len(batch.target) * workers.world() / whole


def _trained(student: Student) -> dict[str, float]:
    """Averages the training metrics over the epoch's samples of all workers; waits for the GPU."""
    sums = torch.stack([student.sums[name] for name in sorted(student.sums)])
    workers.add_up(sums)
    values = dict(zip(sorted(student.sums), sums.tolist(), strict=True))
    samples = values.pop("samples")
    means = {name: value / samples for name, value in values.items()}
    means["train_loss"] = sum(v for name, v in means.items() if name.startswith("loss_"))
    means["lr"] = student.lr
    return means


def _rows(guard: Guard, data: Data, clock: Clock, epoch: int, *, last: bool) -> list[Row]:
    """Returns the epoch's row of each student, and of each trial that failed in it."""
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
    """Evaluates on the validation split and, after the last epoch, on the test set (recorded)."""
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
