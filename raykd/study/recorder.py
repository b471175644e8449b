"""The recorder of a running study: plans cohorts and writes their results into the store."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from raykd.experiments.plan import CohortPlan, TrialPlan
from raykd.search.planner import Search
from raykd.search.space import contains
from raykd.store import Folder, StoreError, Writer
from raykd.store import Study as Stored
from raykd.store.retry import retry_until_available
from raykd.study.specification import Specification
from raykd.train.loop import Row

FOREIGN = "it was not written by this study: choose another name or storage"
"""End of each message about stored trials that do not belong to the study."""


class StudyRecorder:
    """Hands out cohorts and records what they report.

    A report is stored before the search learns of it.

    Args:
        study: The study that runs.
        search: Search that plans the cohorts of the study.
        writer: Writer of this study in the store.
        folder: Root folder of the store.
        say: Callback that receives a one-sentence status message whenever a storage request is
            retried.

    Attributes:
        plans: All cohorts planned so far, in the order of their planning.
        waiting: Planned cohorts that have not been handed out.
        running: Cohorts that have been handed out and have not ended, by name.
        lost: Reasons of cohorts that were given up, by name.
        known: Last recorded epoch of each trial.
    """

    def __init__(
        self,
        study: Specification,
        search: Search,
        writer: Writer,
        folder: Folder,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.study, self.search, self.writer, self.folder = study, search, writer, folder
        self._say = say
        writer.tell(say)
        self.plans: list[CohortPlan] = []
        self.waiting: list[CohortPlan] = []
        self.running: dict[str, CohortPlan] = {}
        self.lost: dict[str, str] = {}
        self.known: dict[str, int] = {}
        self._seconds: dict[str, dict[int, float]] = {}

    def stored(self) -> Stored:
        """Returns the stored study, as its writer reads it; retries until the store answers."""

        def ask() -> Stored:
            study = self.writer.study()
            study.metrics()  # reads the metrics inside the function that is retried
            return study

        return retry_until_available(ask, say=self._say)

    def restore(
        self, trials: list[dict[str, Any]], curves: dict[str, dict[int, list[float]]]
    ) -> None:
        """Restores the search and the list of cohorts from the store.

        Args:
            trials: One row for each trial, as `raykd.store` returns them.
            curves: For each trial, the values of the objectives after each epoch.

        Raises:
            StoreError: A stored trial can't come from this study.
        """
        for row in trials:
            for epoch, values in sorted(curves.get(row["trial"], {}).items()):
                last = epoch == (row["epoch"] or 0)
                state = row["state"] if last else "RUNNING"
                self.search.observe(row["trial"], epoch, values, state)
                self.known[row["trial"]] = epoch
            if row["state"] == "FAIL":  # an exception may have ended the trial before any report
                self.search.fail(row["trial"])
        configs = self.writer.configs()
        for row in trials:
            if row["number"] >= 0:
                self._check(row["trial"], configs[row["trial"]])
        plans = _cohort_plans(trials, configs)
        numbers = [s.number for p in plans if not p.replicate for s in p.trials]
        asked = [number for number in numbers if number is not None]
        if asked != [*range(len(asked))]:
            raise StoreError(
                f"the stored trials have the numbers {_some(asked)}, and this study counts them"
                f" without a gap; {FOREIGN}"
            )
        self.search.restore(plans)
        self.plans = plans
        self.waiting = [plan for plan in plans if not self.search.ended(plan)]

    def _check(self, trial: str, config: dict[str, Any]) -> None:
        """Checks that this study could have asked for the configuration of a stored trial."""
        space = self.study.space
        if unknown := sorted(config.keys() - space.keys()):
            raise StoreError(
                f"the stored trial {trial} sets {_some(unknown)}, which this study does not search;"
                f" {FOREIGN}"
            )
        if wrong := sorted(
            n for n in space if n not in config or not contains(space[n], config[n])
        ):
            raise StoreError(
                f"the stored trial {trial} has no value for {_some(wrong)} that this study could"
                f" have asked for; {FOREIGN}"
            )

    def take(self) -> CohortPlan | None:
        """Returns the next cohort to train, or None if there is none at the moment."""
        if not self.waiting:
            planned = self.search.next() or []
            self._append([_trial(plan, s, self.study) for plan in planned for s in plan.trials])
            self.plans += planned
            self.waiting += planned
        if not self.waiting:
            return None
        plan = self.waiting.pop(0)
        self.running[plan.cohort] = plan
        return plan

    def finished(self) -> bool:
        """Returns True if there are no cohorts to hand out, now or later."""
        return not self.waiting and self.search.next_is_empty()

    def rows(self, plan: CohortPlan, rows: Iterable[Row]) -> list[Row]:
        """Records one epoch of a cohort and returns the rows that were not known before."""
        rows = list(rows)
        for row in rows:  # rows of an earlier run count too: cohorts report their past again
            if row.metrics:
                spent = self._seconds.setdefault(row.trial, {})
                spent[row.epoch] = row.metrics["share_seconds"]
        new = [
            row
            for row in rows
            if row.epoch > self.known.get(row.trial, 0) and not self.search.has_ended(row.trial)
        ]
        records: list[dict[str, Any]] = []
        for row in new:
            report = {"trial": row.trial, "epoch": row.epoch, "metrics": row.metrics}
            if row.metrics:
                self.known[row.trial] = row.epoch
                records.append({"kind": "report", **report})
            if row.state != "RUNNING":
                records.append(self._end(row))
        self._append(records)
        for row in new:
            if row.metrics:
                values = [row.metrics[name] for name in self.study.metrics]
                self.search.observe(row.trial, row.epoch, values, row.state)
            else:
                self.search.fail(row.trial)
        if self.search.ended(plan):
            self.running.pop(plan.cohort, None)
            leftovers = f"{self.study.name}/checkpoints/{plan.cohort}"
            retry_until_available(partial(self.folder.delete_all, leftovers), say=self._say)
        return new

    def epochs_done(self) -> int:
        """Returns the number of finished epochs, summed over all planned cohorts."""
        return sum(max(self.known.get(s.trial, 0) for s in plan.trials) for plan in self.plans)

    def give_up(self, plan: CohortPlan, reason: str) -> None:
        """Records that a cohort failed more often than it is retried.

        The cohort stays unfinished in the store; a later run of the study continues it.
        """
        self.running.pop(plan.cohort, None)
        self.lost[plan.cohort] = reason
        self.search.give_up(plan)

    def teacher(self, metrics: dict[str, float]) -> None:
        """Records the metrics of the trained teacher."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._append(
            [
                {
                    "kind": "trial",
                    "trial": "teacher",
                    "number": -1,
                    "cohort": "",
                    "role": "teacher",
                    "method": "",
                    "seed": self.study.seed,
                    "config": {},
                    "time": now,
                },
                {"kind": "report", "trial": "teacher", "epoch": 1, "metrics": metrics},
                {
                    "kind": "end",
                    "trial": "teacher",
                    "state": "COMPLETE",
                    "reason": "",
                    "checkpoint": "",
                    "cost": {},
                    "params": int(metrics["params"]),
                },
            ]
        )

    def _append(self, records: list[dict[str, Any]]) -> None:
        """Stores records; retries until the store answers, without a time limit."""
        retry_until_available(partial(self.writer.append, records), say=self._say)

    def _end(self, row: Row) -> dict[str, Any]:
        seconds = self._seconds.get(row.trial, {})
        weights = f"{self.study.name}/checkpoints/{row.trial}/last.safetensors"
        params = row.metrics.get("params", math.nan)
        return {
            "kind": "end",
            "trial": row.trial,
            "state": row.state,
            "reason": row.reason,
            "checkpoint": weights if row.metrics else "",
            "cost": {"seconds": sum(seconds.values()), "epochs": float(len(seconds))},
            "params": int(params) if math.isfinite(params) else 0,
        }


def _some(items: Sequence[Any]) -> str:
    return ", ".join(map(str, items[:5])) + (", …" if len(items) > 5 else "")


def _trial(plan: CohortPlan, trial_plan: TrialPlan, study: Specification) -> dict[str, Any]:
    return {
        "kind": "trial",
        "trial": trial_plan.trial,
        "number": -1 if trial_plan.number is None else trial_plan.number,
        "cohort": plan.cohort,
        "role": trial_plan.role,
        "method": trial_plan.method,
        "seed": study.seed + plan.replicate,
        "config": trial_plan.config,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cohort_plans(
    trials: list[dict[str, Any]], configs: dict[str, dict[str, Any]]
) -> list[CohortPlan]:
    """Returns the stored cohorts in the order in which they were planned."""
    cohorts: dict[str, list[dict[str, Any]]] = {}
    for row in trials:
        if row["cohort"]:
            cohorts.setdefault(row["cohort"], []).append(row)
    plans = []
    for name in sorted(cohorts, key=lambda name: (len(name.partition("-s")[0]), name)):
        settings = [
            TrialPlan(
                row["trial"],
                row["role"],
                row["method"],
                configs[row["trial"]],
                None if row["number"] < 0 else row["number"],
            )
            for row in cohorts[name]
        ]
        settings.sort(key=lambda s: (s.number is not None, s.number or 0))
        replicate = name.partition("-s")[2] or "0"
        if not replicate.isdecimal():
            raise StoreError(f"{name!r} in the store is the name of no cohort of raykd")
        plans.append(CohortPlan(name, tuple(settings), int(replicate)))
    return plans
