"""Entry points of Ray's processes, which train a cohort in a Tune actor or Ray Train workers."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ray import train, tune
from ray.exceptions import RayError
from ray.train import TrainingFailedError
from ray.train.torch import TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback

from raykd.experiments.context import WorkerContext
from raykd.experiments.distillation import DistillationRunner
from raykd.experiments.plan import CohortPlan
from raykd.runtime.preemption import PreemptionNotice
from raykd.runtime.working_directory import enter
from raykd.train import workers
from raykd.train.failure import RestartError, of_machine, reason
from raykd.train.pretrain import TeacherError

LOST = "lost.txt"
"""Name of a file beside a cohort's checkpoints that says why none of its workers can continue."""

START_SECONDS = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
"""Environment variable with the time that Ray Train waits for its workers, in seconds."""


def in_actor(config: dict[str, Any], runner: DistillationRunner) -> None:
    """Trains a cohort in this process, a Tune actor that Tune reuses for the next cohort."""
    enter(runner.directory)
    with PreemptionNotice() as preempted:
        for report in _reports(runner, config["plan"], WorkerContext(preempted=preempted)):
            tune.report(report)


def with_train(
    config: dict[str, Any], runner: DistillationRunner, count: int | tuple[int, int], gpus: float
) -> None:
    """Trains a cohort with Ray Train, from a Tune actor that only waits for it.

    Ray Train starts its workers again a few times, whatever ended them. Failing trials use up some
    of these restarts. Ray Train is therefore run again as long as each run ends with more failed
    trials than the one before.

    Args:
        config: Tune's configuration of the trial; its `plan` is the cohort.
        runner: Trains the cohort in each worker.
        count: Number of workers, or the smallest and the largest number for elastic training.
        gpus: Number of GPUs of each worker.
    """
    plan: CohortPlan = config["plan"]
    folder = runner.checkpoints(plan)
    folder.delete(LOST)  # left by an earlier run, whose fault may have been corrected
    failed = len(folder.list("failed"))
    while True:
        try:
            _train(plan, runner, count, gpus)
            return
        except TrainingFailedError:
            before, failed = failed, len(folder.list("failed"))
            if failed == before:
                raise


def _train(
    plan: CohortPlan, runner: DistillationRunner, count: int | tuple[int, int], gpus: float
) -> None:
    """Runs Ray Train once.

    The run's own folder contains nothing but Ray's bookkeeping. The cohort continues from raykd's
    checkpoints in the store, on whichever node it is restarted.
    """
    report: Any = TuneReportCallback()
    elastic: Any = count  # Ray's annotation does not include pairs
    # A cloud's GPU machine takes minutes to boot. Elastic workers start on the nodes that are up;
    # Ray counts a node that has just died among these until the wait for it has timed out.
    os.environ.setdefault(START_SECONDS, "900" if isinstance(count, int) else "20")
    resources = {"CPU": runner.cpus, **({"GPU": gpus} if gpus else {})}
    with tempfile.TemporaryDirectory() as folder:
        TorchTrainer(
            _in_worker,
            train_loop_config={"plan": plan, "runner": runner},
            scaling_config=train.ScalingConfig(
                num_workers=elastic, use_gpu=bool(gpus), resources_per_worker=resources
            ),
            run_config=train.RunConfig(
                name=f"{runner.name}-{plan.cohort}",
                storage_path=folder,
                callbacks=[report],
                failure_config=train.FailureConfig(max_failures=3),
            ),
        ).fit()


def _in_worker(config: dict[str, Any]) -> None:
    """Trains a cohort in one worker of Ray Train."""
    runner: DistillationRunner = config["runner"]
    enter(runner.directory)
    lost = runner.checkpoints(config["plan"])
    if lost.exists(LOST):
        train.report({"rows": [], "lost": lost.read(LOST).decode()})
        return
    ray_context = train.get_context()
    with PreemptionNotice() as preempted:
        context = WorkerContext(
            device=str(get_device()),
            rank=ray_context.get_world_rank(),
            world_size=ray_context.get_world_size(),
            wrap=workers.join,
            preempted=preempted,
        )
        for report in _reports(runner, config["plan"], context):
            train.report(report)


def _reports(
    runner: DistillationRunner, plan: CohortPlan, context: WorkerContext
) -> Iterator[dict[str, Any]]:
    """Yields reports for Tune: the rows of each epoch, or the reason why no retry can succeed.

    Raises:
        RestartError: The cohort must continue in another process.
        Exception: A retry may succeed; see `of_machine`.
    """
    try:
        for rows in runner.run(plan, context):
            yield {"rows": [asdict(row) for row in rows]}
    except (RestartError, RayError):
        raise
    except Exception as error:  # the user's data set and teacher may raise anything
        if of_machine(error):
            raise
        runner.forget()
        why = reason(error)
        if context.world_size > 1:  # the others wait for this one; after a restart all read LOST
            runner.checkpoints(plan).write(LOST, why.encode())
            raise RestartError(why) from None
        yield {"rows": [], "lost": why}


def prepare_teacher(runner: DistillationRunner) -> Iterator[dict[str, Any]]:
    """Prepares the teacher with `DistillationRunner.prepare_teacher` and yields its reports.

    Raises:
        TeacherError: The training failed, or the network or the data set raised an exception.
    """
    enter(runner.directory)
    try:
        yield from runner.prepare_teacher()
    except TeacherError:
        raise
    except Exception as error:  # the user's network and data set may raise anything
        if of_machine(error):
            raise
        raise TeacherError(f"the teacher can't be made ready: {reason(error)}") from error
