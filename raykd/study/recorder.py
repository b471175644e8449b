"""The ledger of a running study: what is planned, what is known, what is stored."""

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


class StudyRecorder:
    """Hands out cohorts and writes down what comes back, in the store before anywhere else.

    Args:
        study: What is run.
        search: Plans its cohorts.
        writer: Of the study in the store.
        folder: The store's root.
        say: Is told when the store has to be waited for.
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
        """What the store holds, as its writer read it."""

        def ask() -> Stored:
            study = self.writer.study()
            study.metrics()  # reads them here, where they are waited for
            return study

        return retry_until_available(ask, say=self._say)

    def restore(
        self, trials: list[dict[str, Any]], curves: dict[str, dict[int, list[float]]]
    ) -> None:
        """Takes up what the store holds.

        Args:
            trials: A row a trial, as `raykd.store` gives them.
            curves: The objectives of each trial after each epoch.
        """
        for row in trials:
            for epoch, values in sorted(curves.get(row["trial"], {}).items()):
                last = epoch == (row["epoch"] or 0)
                state = row["state"] if last else "RUNNING"
                self.search.observe(row["trial"], epoch, values, state)
                self.known[row["trial"]] = epoch
            if row["state"] == "FAIL":  # an exception may have ended it before its first report
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
        """Checks that a stored trial is one that this study could have asked for."""
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
        """The next cohort to teach, or None if there is none now."""
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
        """Whether there is nothing more to hand out, now or later."""
        return not self.waiting and self.search.next_is_empty()

    def rows(self, plan: CohortPlan, rows: Iterable[Row]) -> list[Row]:
        """Writes an epoch of a cohort down; returns the rows that were not known before."""
        rows = list(rows)
        for row in rows:  # what was known before counts too: only a cohort knows its past
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
        """Epochs of cohorts that are behind."""
        return sum(max(self.known.get(s.trial, 0) for s in plan.trials) for plan in self.plans)

    def give_up(self, plan: CohortPlan, reason: str) -> None:
        """A cohort that failed for good: it stays unfinished in the store, to be gone on with."""
        self.running.pop(plan.cohort, None)
        self.lost[plan.cohort] = reason
        self.search.give_up(plan)

    def teacher(self, metrics: dict[str, float]) -> None:
        """Writes down what the teacher can do."""
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
        """Stores records, however long the store has to be waited for."""
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
    """The stored cohorts, in the order in which they were planned."""
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
