#!/usr/bin/env python3
"""Measures the controller's own costs in a study of 10,000 trials in 1,250 cohorts.

Only the training is made up: a cohort reports all its epochs at once. Tune, the searcher, the
recorder, the writer and the store, in S3 (moto) or in a folder, are the real ones.

    python benchmarks/scale.py [--trials 10000] [--cohort 8] [--epochs 3] [--sampler tpe] [--local]

It prints a line for each tenth of the study: seconds for each cohort, and their division between
Optuna, the store and the rest (Tune and Ray); memory of the driver; requests and bytes to the
store.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

import psutil
import ray
from optuna.distributions import FloatDistribution
from rich.table import Table
from store import moto

from raykd.data.synthetic import Synthetic
from raykd.experiments.context import WorkerContext
from raykd.experiments.distillation import DistillationRunner
from raykd.experiments.plan import CohortPlan
from raykd.methods.itrd import ITRD
from raykd.models.resnet import resnet8
from raykd.runtime import cluster
from raykd.runtime.runner import Resources
from raykd.search.planner import Search
from raykd.store import open_store
from raykd.store.folder import Folder
from raykd.study import Study, run
from raykd.study.progress import Display
from raykd.study.recorder import StudyRecorder
from raykd.terminal import Console
from raykd.train.loop import Row

MEGABYTE = 2**20


class MadeUp(DistillationRunner):
    """Stands in for training: the accuracy is a smooth function of the hyperparameters."""

    def run(self, plan: CohortPlan, context: WorkerContext) -> Iterator[list[Row]]:
        """Yields the rows of each epoch at once."""
        epochs = self.distillation.recipe.epochs
        for epoch in range(1, epochs + 1):
            state = "COMPLETE" if epoch == epochs else "RUNNING"
            yield [Row(s.trial, epoch, _metrics(s.config, epoch), state) for s in plan.trials]


def _metrics(config: dict[str, Any], epoch: int) -> dict[str, float]:
    score = 0.8 - 0.1 * (config["alpha"] - 1.3) ** 2 - 0.01 * abs(config["beta_corr"] - 2)
    names = ("train_loss", "train_top1", "loss_ce", "loss_corr", "loss_mi", "lr", "val_loss")
    clock = ("seconds", "share_seconds", "data_wait_seconds", "images_per_second")
    return {
        "val_top1": score - 0.3 / epoch,
        "params": 78042.0,
        **dict.fromkeys((*names, *clock), 1.0 / epoch),
    }


class Spent:
    """Counts the seconds spent in some functions, and the requests and bytes of others."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.requests = self.bytes = 0

    def time(self, owner: Any, name: str, account: str) -> None:
        """Adds up the time spent in a method."""
        inner = getattr(owner, name)

        @wraps(inner)
        def timed(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*args, **options)
            finally:
                spent = time.perf_counter() - began
                self.seconds[account] = self.seconds.get(account, 0.0) + spent

        setattr(owner, name, timed)

    def count(self, owner: Any) -> None:
        """Counts the requests that the writer of this process makes."""
        for name in ("read", "write", "create", "exists", "list", "delete"):
            setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(inner)
        def counted(key: Any, *data: Any) -> Any:
            self.requests += 1
            self.bytes += sum(len(part) for part in data if isinstance(part, bytes))
            return inner(key, *data)

        return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--cohort", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--local", action="store_true", help="a folder in the place of S3")
    given = parser.parse_args()
    study = Study(
        name="scale",
        data=Synthetic,
        teacher=resnet8,
        student=resnet8,
        method=ITRD,
        space={
            "alpha": FloatDistribution(1.0, 2.0),
            "beta_corr": FloatDistribution(0.1, 10, log=True),
            "beta_mi": FloatDistribution(0.01, 10, log=True),
        },
        references=(),
        trials=given.trials,
        cohort=given.cohort,
        epochs=given.epochs,
        sampler=given.sampler,
        concurrent=2,
    )
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as work, nullcontext() if given.local else moto() as bucket:
        simulate(study, str(Path(work) / "store") if given.local else f"{bucket}/scale")


def simulate(study: Study, root: str) -> None:
    """Runs the study and prints what it cost."""
    spent, store = Spent(), open_store(root, create=True)
    data = study.data()
    source = study.distillation.teacher_source(data)
    table = Table(title=f"{study.trials} trials, cohorts of {study.cohort}, {study.sampler}")
    for name in (
        "trials",
        "s a cohort",
        "Optuna",
        "store",
        "rest",
        "driver MiB",
        "requests",
        "MiB",
    ):
        table.add_column(name, justify="right")
    with store.writer(study.name, run._spec(study, data, source, store.folder)) as writer:
        search = Search(study.search_config(2))
        recorder = StudyRecorder(study, search, writer, store.folder)
        spent.time(search, "next", "optuna")
        spent.time(writer, "append", "store")
        spent.time(recorder.folder, "delete_all", "store")
        spent.count(store.folder._objects)
        tenth, began = max(1, study.search_config(2).cohorts() // 10), time.perf_counter()
        inner, ended = recorder.rows, 0
        process = psutil.Process()

        def rows(plan: CohortPlan, got: Any) -> Any:
            nonlocal ended, began
            fresh = inner(plan, got)
            ended += bool(fresh) and fresh[0].state == "COMPLETE"
            if fresh and fresh[0].state == "COMPLETE" and ended % tenth == 0:
                each = (time.perf_counter() - began) / tenth
                parts = [spent.seconds.pop(name, 0.0) / tenth for name in ("optuna", "store")]
                table.add_row(
                    f"{ended * study.cohort}",
                    *(f"{value:.3f}" for value in (each, *parts, each - sum(parts))),
                    f"{process.memory_info().rss / MEGABYTE:.0f}",
                    f"{spent.requests / tenth:.1f}",
                    f"{spent.bytes / tenth / MEGABYTE:.3f}",
                )
                Console().print(table.columns[0]._cells[-1], f"{each:.3f} s a cohort")
                spent.requests = spent.bytes = 0
                began = time.perf_counter()
            return fresh

        recorder.rows = rows  # type: ignore[method-assign,assignment]
        made_up = MadeUp(study.name, study.distillation, Folder(root), source, Path.cwd())
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        os.environ.update(cluster.QUIET)
        quiet = Display(study, Console(quiet=True))
        run._run_cohorts(made_up, recorder, quiet, Resources(0, 0, 1.0, 0.0, 2))
        ray.shutdown()
    Console().print(table)
    began = time.perf_counter()
    best = open_store(root).study(study.name).best()[0]
    took = time.perf_counter() - began
    objects = store.folder.list(study.name)
    print(f"best of {study.trials} in {took:.3f} s: {best.id}; {len(objects)} objects in the store")


if __name__ == "__main__":
    main()
