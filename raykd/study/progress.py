"""Progress of a running study on the terminal, in place of Ray Tune's own output."""

import time
from collections.abc import Iterable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from raykd.experiments.plan import CohortPlan
from raykd.study.specification import Specification
from raykd.terminal import Console
from raykd.train.loop import Row


class Display:
    """Progress display of a study.

    On a terminal it shows progress bars. Elsewhere, as in the log of a Ray job, it prints one line
    for each epoch of a cohort.

    Args:
        study: The study that runs.
        console: Console to print to.

    Attributes:
        best: Best score of a completed trial that this run has shown, and the trial's name; the
            score is larger for better trials.
    """

    def __init__(self, study: Specification, console: Console) -> None:
        self.study, self.console = study, console
        self.best: tuple[float, str] | None = None
        self._total = self._done = 0
        # Time of the first epoch in this run, and the number of epochs done by then.
        self._first: tuple[float, int] | None = None
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("{task.description:<14}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Display":
        """Starts the progress bars."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the progress bars."""
        self._bars.stop()

    def say(self, text: str) -> None:
        """Prints one line of text."""
        self.console.show(text)

    def teacher(self, row: Row, epochs: int) -> None:
        """Shows one epoch of the teacher's own training.

        Args:
            row: Metrics of the epoch.
            epochs: Total number of epochs that the teacher is trained for.
        """
        note = f"validation accuracy {row.metrics['val_top1']:.1%}"
        self._bar("teacher", row.epoch, epochs, note)
        if row.state != "RUNNING":
            self._bars.remove_task(self._tasks.pop("teacher"))

    def expect(self, total: int, done: int) -> None:
        """Sets how much work there is, for the overall bar and the estimate of the time left.

        Args:
            total: Number of epochs over all cohorts of the study.
            done: Number of these that are finished already.
        """
        self._total, self._done = total, done

    def rows(self, plan: CohortPlan, rows: Iterable[Row], fresh: int) -> None:
        """Shows one epoch of a cohort.

        Args:
            plan: The cohort.
            rows: Rows of the epoch, one for each student.
            fresh: Number of these rows that were not known from an earlier run; if it is 0,
                nothing is shown.
        """
        rows = list(rows)
        if not fresh:
            return
        self._done += 1
        self._first = self._first or (time.monotonic(), self._done)
        searched = {s.trial for s in plan.trials if s.role != "reference"}
        objective = self.study.objective
        for row in rows:
            if row.trial in searched and row.state == "COMPLETE":
                score = objective.score(row)
                if self.best is None or score > self.best[0]:
                    self.best = (score, row.trial)
        epoch = rows[0].epoch
        top = max((row for row in rows if row.state != "FAIL"), key=objective.score, default=None)
        best = (
            f"best {objective.metric} {top.metrics[objective.metric]:.4f}" if top else "all failed"
        )
        note = f"{len(rows)} students, {best}"
        ended = [f"{r.trial} {r.state.lower()}: {r.reason}" for r in rows if r.reason]
        name = f"cohort {plan.cohort}"
        self._bar(name, epoch, self.study.epochs, note)
        for line in ended:
            self.console.show(f"  {line}", style="yellow")
        if epoch == self.study.epochs or all(row.state != "RUNNING" for row in rows):
            self._bars.remove_task(self._tasks.pop(name))
        self._overall()

    def _bar(self, name: str, done: int, total: int, note: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note="")
        self._bars.update(self._tasks[name], completed=done, note=note)
        if not self.console.is_terminal:
            self.say(f"{name}  epoch {done}/{total}  {note}{self._left()}")

    def _overall(self) -> None:
        if "study" not in self._tasks:
            self._tasks["study"] = self._bars.add_task("study", total=self._total, note="")
        best = f"best so far {self.best[0]:.4f} (trial {self.best[1]})" if self.best else ""
        self._bars.update(self._tasks["study"], completed=self._done, note=f"{best}{self._left()}")

    def _left(self) -> str:
        if self._first is None or self._done == self._first[1]:
            return ""
        since, first = self._first
        pace = (time.monotonic() - since) / (self._done - first)
        return f", about {_duration(max(0.0, pace * (self._total - self._done)))} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
