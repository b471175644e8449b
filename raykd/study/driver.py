"""Runs a study on Ray: gets the teacher ready, lets Tune schedule the cohorts, keeps the ledger."""

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import ray
from optuna.distributions import distribution_to_json
from ray import tune
from ray.exceptions import RayTaskError
from torch.cuda import is_available as cuda_is_there

from raykd.data import Data
from raykd.store import Folder, open_store
from raykd.store.address import refuse_credentials
from raykd.store.patience import patiently
from raykd.study import actors, capacity
from raykd.study.bridge import Bridge
from raykd.study.check import check
from raykd.study.cluster import cluster
from raykd.study.ledger import Ledger
from raykd.study.lesson import Lesson, fitted
from raykd.study.origin import origin
from raykd.study.progress import Display
from raykd.study.search import Search
from raykd.study.stop import Interrupted, terminated_as_interrupted
from raykd.study.study import Study, method_name
from raykd.study.workdir import refuse_what_is_deleted
from raykd.terminal import Console
from raykd.train.describe import describe, locate
from raykd.train.loop import Row
from raykd.train.pretrain import Source
from raykd.train.teacher import digest


@dataclass(frozen=True)
class Means:
    """What a cohort is run with on this cluster.

    Attributes:
        workers: Ray Train workers of a cohort; 0 for none.
        least: Fewest of them to begin with.
        gpus: Of each.
        concurrent: Cohorts at a time.
        here: Whether this machine is the cluster and its processors all there is: then the teacher
            is trained in this process, which need not start another one for it.
    """

    workers: int
    least: int
    gpus: float
    concurrent: int
    here: bool = False


def run(study: Study, storage: str) -> None:
    """Runs a study or goes on with it; see `Study.run`."""
    console, directory = Console(), Path.cwd()
    with terminated_as_interrupted() as listen:
        refuse_what_is_deleted(storage)
        data, source = check(study)
        store = open_store(storage, create=True)
        display = Display(study, console)
        folder = store.folder.patient(math.inf, say=display.say)
        spec = _without_credentials(_spec(study, data, source, folder, display.say))
        with (
            store.writer(study.name, spec, wait=math.inf, say=display.say) as writer,
            cluster(dashboard=_trains(study)) as ours,
        ):
            listen()
            means = _means(study, ours)
            search = Search(study.question(means.concurrent))
            ledger = Ledger(study, search, writer, store.folder, display.say)
            _restore(ledger)
            lesson = Lesson(study, folder, source, data.describe(), directory)
            with display:
                for sentence in study.left_out():
                    display.say(sentence)
                _teacher(lesson, ledger, display, means)
                _teach(lesson, ledger, display, means)
            search.finish()
    if ledger.lost:
        raise RuntimeError(_unfinished(ledger.lost))


def _unfinished(lost: dict[str, str]) -> str:
    """Says why cohorts stay unfinished, each reason once."""
    cohorts: dict[str, list[str]] = {}
    for name, why in lost.items():
        cohorts.setdefault(why, []).append(name)
    failed = "; ".join(f"cohort {', '.join(names)}: {why}" for why, names in cohorts.items())
    return f"some cohorts failed for good and stay unfinished: {failed}"


def _spec(
    study: Study,
    data: Data,
    source: Source,
    folder: Folder,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The content of `study.json`; the store refuses a study of this name with another identity."""
    identity = {
        "data": data.describe(),
        "teacher": source.key() if source.trained_here else _given(source, folder, say),
        "student": describe(study.student),
        "method": describe(study.method),
        "references": [describe(method) for method in study.references],
        "space": {n: distribution_to_json(d) for n, d in sorted(study.space.items())},
        "first": [dict(setting) for setting in study.first],
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
        **origin(),
    }


def _without_credentials(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of `study.json`; refuses it where a text in it has credentials.

    Raises:
        ValueError: An argument of the data, a network or the script is such an address.
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
    """A teacher that came trained: its network, and what its weights are.

    The check of the study has read them already and would have raised; whoever has failed since
    then is waited for.
    """
    model = patiently(partial(source.load, folder), say=say, what="the teacher's weights")
    return {"model": source.key()["model"], "digest": digest(model)}


def _trains(study: Study) -> bool:
    """Whether cohorts run under Ray Train, whose clean-up asks the dashboard.

    Tune actors alone start faster without one.
    """
    return bool(study.workers or (study.workers is None and cuda_is_there()))


def _means(study: Study, ours: bool) -> Means:
    """Fills in what the study leaves to the cluster, and checks that there is room."""
    gpus = study.gpus if study.gpus is not None else float(capacity.has("GPU"))
    workers = study.workers if study.workers is not None else int(gpus > 0)
    if workers == 0:
        gpus = 0.0
    least = workers if study.min_workers is None else study.min_workers
    need = {"CPU": study.cpus, "GPU": gpus}
    room = capacity.cohorts_at_a_time(need, max(1, least))
    return Means(workers, least, gpus, min(room, study.concurrent or room), here=ours and not gpus)


def _restore(ledger: Ledger) -> None:
    stored = ledger.stored()
    trials = stored.trials().to_pylist()
    names = list(ledger.study.metrics)
    values: dict[tuple[str, int], dict[str, float]] = {}
    for row in stored.metrics().filter(pc.field("name").isin(names)).to_pylist():
        values.setdefault((row["trial"], row["epoch"]), {})[row["name"]] = row["value"]
    curves: dict[str, dict[int, list[float]]] = {}
    for (trial, epoch), named in values.items():
        curves.setdefault(trial, {})[epoch] = [named.get(name, math.nan) for name in names]
    ledger.restore(trials, curves)


def _teacher(lesson: Lesson, ledger: Ledger, display: Display, means: Means) -> None:
    """Trains the teacher where that has not been done, and records what it can do."""
    if "teacher" in ledger.known and lesson.source.ready(lesson.folder):
        return
    epochs = lesson.source.recipe.epochs
    for told in _trained(lesson, means):
        if "record" in told:
            ledger.teacher(told["record"])
            accuracy = f"{told['record']['val_top1']:.1%}"
            display.say(f"teacher ready: validation accuracy {accuracy}")
        else:
            display.teacher(Row(**told), epochs)


def _trained(lesson: Lesson, means: Means) -> Iterator[dict[str, Any]]:
    """Trains the teacher with what a worker has: the same numbers here and on a cluster."""
    if means.here:
        yield from actors.teacher(lesson)
        return
    task = ray.remote(actors.teacher).options(
        num_returns="streaming", max_retries=3, num_cpus=lesson.study.cpus, num_gpus=means.gpus
    )
    rows: Any = task.remote(lesson)  # a generator of references
    for reference in rows:
        try:
            yield ray.get(reference)
        except RayTaskError as error:  # its text is a traceback
            raise error.cause from None


def _teach(lesson: Lesson, ledger: Ledger, display: Display, means: Means) -> None:
    study = lesson.study
    total = ledger.search.question.cohorts() * study.epochs
    display.expect(total, ledger.epochs_done())
    if means.workers:
        head = {"driver": 0.01} if capacity.has("driver") else {"CPU": 0.01}
        count = (means.least, means.workers) if means.least < means.workers else means.workers
        target: Any = partial(actors.with_train, lesson=lesson, count=count, gpus=means.gpus)
        target = tune.with_resources(target, head)
    else:
        target = tune.with_resources(partial(actors.in_actor, lesson=lesson), {"CPU": study.cpus})
    bridge = Bridge(ledger, display)
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            target,
            tune_config=tune.TuneConfig(
                search_alg=bridge.searcher,
                num_samples=-1,
                max_concurrent_trials=means.concurrent,
                reuse_actors=means.workers == 0,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=study.name,
                storage_path=folder,
                verbose=0,
                callbacks=[bridge],
                failure_config=tune.FailureConfig(max_failures=3),
            ),
        ).fit()
    if (not ledger.finished() or ledger.running) and not ledger.lost:
        raise Interrupted


def _name(trial: Any) -> str:
    return str(trial.config["plan"].cohort) if trial.config.get("plan") else str(trial.trial_id)
