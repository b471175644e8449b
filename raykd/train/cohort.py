"""Cohorts: trials that are trained side by side, and resume exactly after an interruption."""

import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from raykd.data import Data
from raykd.methods import Artefact, Method
from raykd.models import Output
from raykd.store import Folder, StoreError
from raykd.train import workers
from raykd.train.failure import Guard
from raykd.train.halving import Halving
from raykd.train.loop import Row, fit
from raykd.train.recipe import Recipe
from raykd.train.student import Student, Wrap
from raykd.train.teacher import Teacher

_UNREADABLE = (  # what `torch.load` and the checks raise for a damaged checkpoint
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    AttributeError,
    TypeError,
)
_CHECKPOINT_KEYS = {"epoch", "step", "rows", "students", "best"}  # those that can't be missing


@dataclass(frozen=True)
class Member:
    """The settings with which a cohort trains one of its trials.

    Attributes:
        trial: Name of the trial.
        method: Factory of the method; gets one output of the student and one of the teacher, whose
            shapes it may use.
        overrides: Optimizer arguments that the trial sets.
        seed: Seed of the initial weights and of dropout.
        exempt: True for a trial that halving never drops, such as a reference.
    """

    trial: str
    method: Callable[[Output, Output], Method]
    overrides: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    exempt: bool = False


@dataclass(frozen=True)
class Objective:
    """The metric by which trials and epochs are compared.

    Attributes:
        metric: Name of a metric in `Row.metrics`, usually one of the validation split.
        mode: `max` if higher values are better, `min` if lower values are.
    """

    metric: str = "val_top1"
    mode: str = "max"

    def score(self, row: Row) -> float:
        """Returns a row's value of the metric, negated for `min`: higher is always better."""
        return row.metrics[self.metric] * (1 if self.mode == "max" else -1)


@dataclass
class Cohort:
    """Trains students that share one teacher and one data stream, and stores checkpoints.

    Args:
        name: Name of the cohort. A cohort continues from the checkpoints of its name, if any.
        members: Trials of the cohort.
        student: Factory of a student's network.
        teacher: Frozen teacher; None to learn from labels alone.
        data: Data set, whose batches are on the device.
        recipe: Optimizer, schedule and number of epochs of the students.
        folder: Folder of the study's checkpoints.
        artefact: Store of the tensors that methods need from earlier stages.
        device: Device of the students, the teacher and the batches.
        objective: Metric that decides the best epoch and which students halving drops.
        halving: Rule that drops the worst students early; None drops none.
        rank: Number of this worker, from 0; worker 0 alone writes weights and checkpoints.
        wrap: Function that makes a module average its gradients over the workers.
        preempted: Callback that returns True if this machine is about to be taken away: then the
            cohort stores a checkpoint at once, in mid-epoch. It is called after each batch and
            must return the same on all workers.
    """

    name: str
    members: list[Member]
    student: Callable[[], nn.Module]
    teacher: Teacher | None
    data: Data
    recipe: Recipe
    folder: Folder
    artefact: Artefact
    device: torch.device
    objective: Objective = field(default_factory=Objective)
    halving: Halving | None = None
    rank: int = 0
    wrap: Wrap = lambda module: module
    preempted: Callable[[], bool] = lambda: False

    def run(self) -> Iterator[list[Row]]:
        """Trains the cohort; yields the rows of each epoch once its checkpoint is stored.

        A resumed cohort first yields the rows of the epochs that are in its checkpoint: the
        process that records them may have been killed after the checkpoint and before the record.

        Raises:
            StoreError: The newest checkpoint is damaged or is no checkpoint of a cohort.
            RestartError: A trial failed such that the others have to be started again.
            RuntimeError: The students don't fit the GPU together, or the teacher has changed.
        """
        state = self._newest()
        history = [Row(**row) for row in state.get("rows", [])]
        best: dict[str, dict[str, Any]] = state.get("best", {})
        for epoch in range(1, state.get("epoch", 0) + 1):
            yield [row for row in history if row.epoch == epoch]
        students: list[Student] = []
        guard = Guard(students, self.folder.sub(self.name), self.device)
        ended = {row.trial for row in history if row.state != "RUNNING"}
        failed = {**state.get("failed", {}), **guard.reasons}
        guard.reasons = {trial: why for trial, why in failed.items() if trial not in ended}
        with guard.gpu_watched():
            self._enrol(guard, ended | guard.reasons.keys())
            for student in students:
                if state:
                    student.load_state_dict(state["students"][student.trial])
            step = state.get("step", 0)
            del state
            epochs = self.recipe.epochs
            done = max((row.epoch for row in history), default=0)

            def after(epoch: int, step: int) -> None:
                if self.preempted():
                    self._save(guard, history, best, epoch, step)

            for rows in fit(students, self.teacher, self.data, epochs, done, step, after, guard):
                rows = self._judge(rows)
                self._keep_best(students, rows, best)
                history += rows
                self._leave(students, rows, best)
                if rows[0].epoch == epochs and self.teacher:
                    self.teacher.verify()
                self._save(guard, history, best, rows[0].epoch)
                yield rows

    def _enrol(self, guard: Guard, ended: set[str]) -> None:
        """Creates the students of the trials that have not ended, and prepares their methods."""
        example = torch.zeros(2, *self.data.shape, device=self.device)
        t = None
        if self.teacher:
            with torch.no_grad():
                t = self.teacher.model(example)
        steps = sum(1 for _ in range(0, len(self.data), self.data.batch_size))
        for member in self.members:
            if member.trial in ended:
                continue
            with guard(member.trial):
                student = Student(
                    member.trial,
                    self.student,
                    member.method,
                    example,
                    t,
                    self.recipe,
                    steps,
                    seed=member.seed,
                    overrides=member.overrides,
                    rank=self.rank,
                    wrap=self.wrap,
                )
                if self.teacher:
                    with student.random.use():
                        method = student.loss.method
                        method.prepare(self.teacher.model, self.data, self.artefact)
                guard.students.append(student)

    def _judge(self, rows: list[Row]) -> list[Row]:
        """Marks the rows of the trials that end with this epoch as completed or pruned."""
        if rows[0].epoch == self.recipe.epochs:
            return [replace(r, state="COMPLETE") if r.state == "RUNNING" else r for r in rows]
        if not self.halving:
            return rows
        exempt = {member.trial for member in self.members if member.exempt}
        running = [r for r in rows if r.state == "RUNNING" and r.trial not in exempt]
        scores = {row.trial: self.objective.score(row) for row in running}
        dropped = self.halving.drop(rows[0].epoch, scores)
        reason = f"among the worst {len(dropped)} of {len(scores)} after epoch {rows[0].epoch}"
        return [
            replace(r, state="PRUNED", reason=reason) if r.trial in dropped else r for r in rows
        ]

    def _keep_best(
        self, students: list[Student], rows: list[Row], best: dict[str, dict[str, Any]]
    ) -> None:
        """Keeps the weights of each student whose score in this epoch is its best so far."""
        row_of = {row.trial: row for row in rows}
        for student in students:
            row = row_of[student.trial]
            score = self.objective.score(row)
            known = best.get(row.trial)
            if row.state != "FAIL" and (known is None or score > known["score"]):
                best[row.trial] = {"score": score, "model": _cpu(student.model)}

    def _leave(
        self, students: list[Student], rows: list[Row], best: dict[str, dict[str, Any]]
    ) -> None:
        """Stores the weights of the students whose trials have ended and removes them.

        A trial that ended with an exception stores none: it may have come in mid-step.
        """
        by_name = {student.trial: student for student in students}
        for row in rows:
            if row.state == "RUNNING":
                continue
            kept, student = best.pop(row.trial, None), by_name.get(row.trial)
            if student is None:
                continue
            if self.rank == 0:
                self.folder.write(f"{row.trial}/last.safetensors", save(_cpu(student.model)))
                if kept:
                    self.folder.write(f"{row.trial}/best.safetensors", save(kept["model"]))
            students.remove(student)

    def _save(
        self,
        guard: Guard,
        history: list[Row],
        best: dict[str, dict[str, Any]],
        epoch: int,
        step: int = 0,
    ) -> None:
        """Writes a checkpoint (worker 0 only) and deletes all but the newest two.

        Args:
            guard: Holds the students in training and the failures that no row has reported.
            history: Rows of all epochs so far.
            best: Score and weights of each student's best epoch, by trial name.
            epoch: Number of epochs done.
            step: Number of batches done of the next epoch.
        """
        if self.rank != 0:
            return
        state = {
            "epoch": epoch,
            "step": step,
            "rows": [asdict(row) for row in history],
            "students": {student.trial: student.state_dict() for student in guard.students},
            "failed": guard.reasons,
            "best": best,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        place = f"{epoch:05d}" + (f"s{step:08d}" if step else "")  # sorts after the epoch's end
        self.folder.write(f"{self.name}/{place}.pt", buffer.getvalue())
        self.folder.delete(*self._checkpoints()[:-2])

    def _newest(self) -> dict[str, Any]:
        """Returns the newest checkpoint, the same one on all workers; empty if there is none."""
        newest = workers.agree(max(self._checkpoints(), default=""))
        if not newest:
            return {}
        data = self.folder.read(newest)
        try:  # tensors and plain values only: a checkpoint must not run code
            state = torch.load(io.BytesIO(data), map_location=self.device, weights_only=True)
            whole = state.keys() >= _CHECKPOINT_KEYS and 0 <= state["epoch"] <= self.recipe.epochs
        except torch.OutOfMemoryError:
            raise
        except _UNREADABLE as error:
            whole, reason = False, str(error).strip().split("\n")[0]
        else:
            reason = "it is no checkpoint of a cohort"
        if not whole:
            raise StoreError(
                f"the checkpoint {self.folder.uri}/{newest} can't be gone on from ({reason});"
                " delete it, and the cohort goes on from the one before it"
            )
        return state  # type: ignore[no-any-return]

    def _checkpoints(self) -> list[str]:
        """Returns the paths of this cohort's checkpoints, the newest last."""
        return [path for path in self.folder.list(self.name) if path.endswith(".pt")]


def _cpu(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
