"""Runs a study: connects the search, the Ray cluster and the store."""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from raykd.data import Data
from raykd.experiments.distillation import DistillationRunner, fitted, method_name
from raykd.experiments.plan import CohortPlan
from raykd.runtime import runner as ray_runner
from raykd.runtime.cluster import cluster
from raykd.runtime.runner import Resources
from raykd.runtime.signals import Interrupted, terminated_as_interrupted
from raykd.runtime.working_directory import refuse_what_is_deleted
from raykd.search.planner import Search
from raykd.search.space import space_to_json
from raykd.store import Folder, open_store
from raykd.store.address import refuse_credentials
from raykd.store.retry import retry_until_available
from raykd.study.checks import check
from raykd.study.progress import Display
from raykd.study.provenance import provenance
from raykd.study.recorder import StudyRecorder
from raykd.study.specification import Specification
from raykd.terminal import Console
from raykd.train.component import describe, locate
from raykd.train.loop import Row
from raykd.train.pretrain import Source
from raykd.train.teacher import digest


def run_study(study: Specification, storage: str) -> None:
    """Runs a study or continues it; see `Study.run`."""
    console, directory = Console(), Path.cwd()
    with terminated_as_interrupted() as handle_sigterm_again:
        refuse_what_is_deleted(storage)
        data, source = check(study)
        store = open_store(storage, create=True)
        display = Display(study, console)
        folder = store.folder.patient(math.inf, say=display.say)
        spec = _without_credentials(_spec(study, data, source, folder, display.say))
        with (
            store.writer(study.name, spec, wait=math.inf, say=display.say) as writer,
            cluster(dashboard=ray_runner.uses_ray_train(study.workers)) as local,
        ):
            handle_sigterm_again()
            resources = ray_runner.find_resources(
                workers=study.workers,
                min_workers=study.min_workers,
                cpus=study.cpus,
                gpus=study.gpus,
                concurrent=study.concurrent,
                local=local,
            )
            search = Search(study.search_config(resources.concurrent))
            recorder = StudyRecorder(study, search, writer, store.folder, display.say)
            _restore(recorder)
            runner = DistillationRunner(
                study.name, study.distillation, folder, source, directory, study.cpus
            )
            with display:
                for sentence in study.left_out():
                    display.say(sentence)
                _prepare_teacher(runner, recorder, display, resources)
                _run_cohorts(runner, recorder, display, resources)
            search.finish()
    if recorder.lost:
        raise RuntimeError(_unfinished(recorder.lost))


def _unfinished(lost: dict[str, str]) -> str:
    """Returns a message that says why cohorts stay unfinished, each reason once."""
    cohorts: dict[str, list[str]] = {}
    for name, why in lost.items():
        cohorts.setdefault(why, []).append(name)
    failed = "; ".join(f"cohort {', '.join(names)}: {why}" for why, names in cohorts.items())
    return f"some cohorts failed for good and stay unfinished: {failed}"


def _spec(
    study: Specification,
    data: Data,
    source: Source,
    folder: Folder,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Returns the content of `study.json`.

    The store refuses to continue a study of this name if its `identity` differs from the stored
    one; the other entries may change.
    """
    identity = {
        "data": data.describe(),
        "teacher": source.key() if source.trained_here else _given(source, folder, say),
        "student": describe(study.student),
        "method": describe(study.method),
        "references": [describe(method) for method in study.references],
        "space": space_to_json(study.space),
        "first": [dict(values) for values in study.first],
        "metric": list(study.metrics),
        "mode": list(study.modes),
        "recipe": study.recipe.describe(),
        "batch_size": study.batch_size,
        "halving": study.halving and asdict(study.halving),
        "seed": study.seed,
        "seeds": study.seeds,
    }
    return {
        "name": study.name,
        "identity": identity,
        **identity,
        "method_name": method_name(study.method),
        "trials": study.trials,
        "cohort": study.cohort,
        "epochs": study.epochs,
        "sampler": study.sampler,
        "made_by": {"student": locate(fitted(study.student, data)), "data": locate(study.data)},
        **provenance(),
    }


def _without_credentials(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of `study.json` unchanged, after checking it for credentials.

    Raises:
        ValueError: A string in it, such as an argument of the data or of a network, contains
            credentials.
    """

    def walk(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{place}.{key}" if place else key)
        elif isinstance(value, list | tuple):
            for item in value:
                walk(item, place)
        elif isinstance(value, str):
            refuse_credentials(value, f"{place}, which study.json would hold,")

    walk(spec, "")
    return spec


def _given(source: Source, folder: Folder, say: Callable[[str], None] | None) -> dict[str, Any]:
    """Returns the identity of a teacher whose weights are given: its network and their digest.

    The checks have loaded the weights before, so that an error here is one of the storage; the
    request is retried until the storage answers.
    """
    model = retry_until_available(
        partial(source.load, folder), say=say, what="the teacher's weights"
    )
    return {"model": source.key()["model"], "digest": digest(model)}


def _restore(recorder: StudyRecorder) -> None:
    """Reads the stored trials and their learning curves, and restores the recorder from them."""
    stored = recorder.stored()
    trials = stored.trials().to_pylist()
    names = list(recorder.study.metrics)
    values: dict[tuple[str, int], dict[str, float]] = {}
    for row in stored.metrics().filter(pc.field("name").isin(names)).to_pylist():
        values.setdefault((row["trial"], row["epoch"]), {})[row["name"]] = row["value"]
    curves: dict[str, dict[int, list[float]]] = {}
    for (trial, epoch), named in values.items():
        curves.setdefault(trial, {})[epoch] = [named.get(name, math.nan) for name in names]
    recorder.restore(trials, curves)


def _prepare_teacher(
    runner: DistillationRunner, recorder: StudyRecorder, display: Display, resources: Resources
) -> None:
    """Trains the teacher if that has not been done, and records its metrics."""
    if "teacher" in recorder.known and runner.source.ready(runner.folder):
        return
    epochs = runner.source.recipe.epochs
    for report in ray_runner.prepare_teacher(runner, resources):
        if "record" in report:
            recorder.teacher(report["record"])
            accuracy = f"{report['record']['val_top1']:.1%}"
            display.say(f"teacher ready: validation accuracy {accuracy}")
        else:
            display.teacher(Row(**report), epochs)


def _run_cohorts(
    runner: DistillationRunner, recorder: StudyRecorder, display: Display, resources: Resources
) -> None:
    """Runs the remaining cohorts, and records and shows each epoch when it is reported.

    Raises:
        Interrupted: Tune stopped before all cohorts were finished, and none was given up.
    """
    total = recorder.search.config.cohorts() * runner.distillation.recipe.epochs
    display.expect(total, recorder.epochs_done())

    def on_report(plan: CohortPlan, report: dict[str, Any]) -> None:
        if "lost" in report:
            recorder.give_up(plan, report["lost"])
            return
        rows = [Row(**row) for row in report["rows"]]
        new = recorder.rows(plan, rows)
        display.rows(plan, rows, len(new))

    ray_runner.run_cohorts(
        runner,
        resources,
        next_plan=recorder.take,
        finished=recorder.finished,
        on_report=on_report,
        on_error=recorder.give_up,
    )
    if (not recorder.finished() or recorder.running) and not recorder.lost:
        raise Interrupted
