"""Runs cohorts on a Ray cluster: in Tune trials, or in Ray Train runs that Tune trials start."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayTaskError
from torch.cuda import is_available as cuda_is_available

from raykd.experiments.distillation import DistillationRunner
from raykd.runtime import actors, capacity
from raykd.runtime.tune_callbacks import (
    CohortSearcher,
    Finished,
    NextPlan,
    OnError,
    OnReport,
    TuneCallbacks,
)


@dataclass(frozen=True)
class Resources:
    """Resources of each cohort, and the number of cohorts.

    Attributes:
        workers: Number of Ray Train workers of a cohort; with 0, the Tune actor trains it.
        min_workers: Number of workers that suffice to start a cohort.
        cpus: Number of CPUs of each worker.
        gpus: Number of GPUs of each worker.
        concurrent: Number of cohorts that run at a time.
        local: True if this machine is the whole cluster and no GPU is used. A teacher is then
            trained in this process, which need not start another one for it.
    """

    workers: int
    min_workers: int
    cpus: float
    gpus: float
    concurrent: int
    local: bool = False


def uses_ray_train(workers: int | None) -> bool:
    """Returns True if cohorts run under Ray Train, which needs the dashboard for its clean-up.

    Without Ray Train, a local cluster starts faster without a dashboard.
    """
    return bool(workers or (workers is None and cuda_is_available()))


def find_resources(
    *,
    workers: int | None,
    min_workers: int | None,
    cpus: float,
    gpus: float | None,
    concurrent: int | None,
    local: bool,
) -> Resources:
    """Returns the resources of cohorts; None stands for a value that fits the cluster.

    A cluster that can grow counts as fully grown.

    Args:
        workers: Number of Ray Train workers of a cohort; by default 1 if there are GPUs, else 0.
        min_workers: Number of workers that suffice to start a cohort; by default `workers`.
        cpus: Number of CPUs of each worker.
        gpus: Number of GPUs of each worker; by default 1 if the cluster has GPUs, else 0.
        concurrent: Largest number of cohorts at a time; by default as many as fit.
        local: True if this machine is the whole cluster.

    Raises:
        ValueError: There is no room for even one cohort.
    """
    gpus = gpus if gpus is not None else float(capacity.has("GPU"))
    workers = workers if workers is not None else int(gpus > 0)
    if workers == 0:
        gpus = 0.0
    least = workers if min_workers is None else min_workers
    room = capacity.cohorts_at_a_time({"CPU": cpus, "GPU": gpus}, max(1, least))
    at_a_time = min(room, concurrent or room)
    return Resources(workers, least, cpus, gpus, at_a_time, local=local and not gpus)


def prepare_teacher(runner: DistillationRunner, resources: Resources) -> Iterator[dict[str, Any]]:
    """Runs `actors.prepare_teacher` in a Ray task or in this process, and yields its reports.

    The task has a worker's resources, so that the metrics are the same here and on a cluster.

    Raises:
        TeacherError: The teacher cannot be trained.
    """
    if resources.local:
        yield from actors.prepare_teacher(runner)
        return
    task = ray.remote(actors.prepare_teacher).options(
        num_returns="streaming",
        max_retries=3,
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
    )
    references: Any = task.remote(runner)
    for reference in references:
        try:
            yield ray.get(reference)
        except RayTaskError as error:  # its own text is a whole traceback
            raise error.cause from None


def run_cohorts(
    runner: DistillationRunner,
    resources: Resources,
    *,
    next_plan: NextPlan,
    finished: Finished,
    on_report: OnReport,
    on_error: OnError,
) -> None:
    """Runs cohorts with Ray Tune until there are no more.

    A cohort whose process, node or storage fails is started again up to three times, and continues
    from its last checkpoint. Tune's own experiment folder is temporary, since all results are in
    the store.

    Args:
        runner: Trains the cohorts in the workers.
        resources: Resources of each cohort.
        next_plan: Returns the next cohort, or None if there is none at the moment.
        finished: Returns True if there will be no more cohorts.
        on_report: Called with a cohort and its report after each epoch.
        on_error: Called with a cohort that failed too often, and the reason.
    """
    if resources.workers:
        head = {"driver": 0.01} if capacity.has("driver") else {"CPU": 0.01}
        elastic = resources.min_workers < resources.workers
        count = (resources.min_workers, resources.workers) if elastic else resources.workers
        target: Any = partial(actors.with_train, runner=runner, count=count, gpus=resources.gpus)
        target = tune.with_resources(target, head)
    else:
        target = partial(actors.in_actor, runner=runner)
        target = tune.with_resources(target, {"CPU": resources.cpus})
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            target,
            tune_config=tune.TuneConfig(
                search_alg=CohortSearcher(next_plan, finished),
                num_samples=-1,
                max_concurrent_trials=resources.concurrent,
                reuse_actors=resources.workers == 0,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=runner.name,
                storage_path=folder,
                verbose=0,
                callbacks=[TuneCallbacks(on_report, on_error)],
                failure_config=tune.FailureConfig(max_failures=3),
            ),
        ).fit()


def _name(trial: Any) -> str:
    return str(trial.config["plan"].cohort) if trial.config.get("plan") else str(trial.trial_id)
