"""What runs in Ray's processes: a cohort in a Tune actor, or in the workers of a Ray Train run."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from ray import train, tune
from ray.exceptions import RayError
from ray.train import TrainingFailedError
from ray.train.torch import TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback

from raykd.study.lesson import Lesson, Place
from raykd.study.notice import notice
from raykd.study.plan import Plan
from raykd.study.workdir import enter
from raykd.train import workers
from raykd.train.failure import RestartError, of_machine, reason
from raykd.train.pretrain import TeacherError, record

LOST = "lost.txt"
"""Beside a cohort's checkpoints: why none of its workers can go on."""

START_SECONDS = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


def in_actor(config: dict[str, Any], lesson: Lesson) -> None:
    """Teaches a cohort in this process, a Tune actor that is used again for the next one."""
    enter(lesson.directory)
    for told in _told(lesson, config["plan"], Place(noticed=notice())):
        tune.report(told)


def with_train(
    config: dict[str, Any], lesson: Lesson, count: int | tuple[int, int], gpus: float
) -> None:
    """Teaches a cohort with Ray Train, from a Tune actor that only waits for it.

    Ray Train starts its workers again a few times, whatever they ended by. Trials that fail take up
    some of these tries, so there are as many rounds of them as it takes for every trial to fail.
    """
    plan: Plan = config["plan"]
    folder = lesson.checkpoints(plan)
    folder.delete(LOST)  # of an earlier run: what was wrong may have been corrected
    failed = len(folder.list("failed"))
    while True:
        try:
            _train(plan, lesson, count, gpus)
            return
        except TrainingFailedError:
            before, failed = failed, len(folder.list("failed"))
            if failed == before:
                raise


def _train(plan: Plan, lesson: Lesson, count: int | tuple[int, int], gpus: float) -> None:
    """Runs Ray Train once.

    The run's own folder is empty but for Ray's bookkeeping: the cohort goes on from raykd's
    checkpoints, whichever node it is restarted on.
    """
    told: Any = TuneReportCallback()
    elastic: Any = count  # Ray's own annotation knows of no pair
    # A cloud's GPU machine takes minutes to boot. Elastic workers take what is there; Ray counts a
    # node that has just died among it, until they have waited for that one in vain.
    os.environ.setdefault(START_SECONDS, "900" if isinstance(count, int) else "20")
    resources = {"CPU": lesson.study.cpus, **({"GPU": gpus} if gpus else {})}
    with tempfile.TemporaryDirectory() as folder:
        TorchTrainer(
            _in_worker,
            train_loop_config={"plan": plan, "lesson": lesson},
            scaling_config=train.ScalingConfig(
                num_workers=elastic, use_gpu=bool(gpus), resources_per_worker=resources
            ),
            run_config=train.RunConfig(
                name=f"{lesson.study.name}-{plan.cohort}",
                storage_path=folder,
                callbacks=[told],
                failure_config=train.FailureConfig(max_failures=3),
            ),
        ).fit()


def _in_worker(config: dict[str, Any]) -> None:
    context = train.get_context()
    place = Place(
        device=str(get_device()),
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        wrap=workers.join,
        noticed=notice(),
    )
    lesson: Lesson = config["lesson"]
    enter(lesson.directory)
    lost = lesson.checkpoints(config["plan"])
    if lost.exists(LOST):
        train.report({"rows": [], "lost": lost.read(LOST).decode()})
        return
    for told in _told(lesson, config["plan"], place):
        train.report(told)


def _told(lesson: Lesson, plan: Plan, place: Place) -> Iterator[dict[str, Any]]:
    """Yields what Tune is told: the rows of each epoch, or why no try of this cohort can succeed.

    Raises:
        RestartError: The cohort goes on in another process.
        Exception: Another try may succeed; see `of_machine`.
    """
    try:
        for rows in lesson.teach(plan, place):
            yield {"rows": [asdict(row) for row in rows]}
    except (RestartError, RayError):
        raise
    except Exception as error:  # the code of data and teacher may raise anything
        if of_machine(error):
            raise
        lesson.forget()
        why = reason(error)
        if place.world > 1:  # the others wait for this one; started again, all of them read this
            lesson.checkpoints(plan).write(LOST, why.encode())
            raise RestartError(why) from None
        yield {"rows": [], "lost": why}


def teacher(lesson: Lesson) -> Iterator[dict[str, Any]]:
    """Gets the teacher ready: yields a row an epoch while it is trained, then what it can do.

    Raises:
        TeacherError: Its training failed, or the code of network or data raised an exception.
    """
    try:
        yield from _teacher(lesson)
    except TeacherError:
        raise
    except Exception as error:  # the code of network and data may raise anything
        if of_machine(error):
            raise
        raise TeacherError(f"the teacher can't be made ready: {reason(error)}") from error


def _teacher(lesson: Lesson) -> Iterator[dict[str, Any]]:
    enter(lesson.directory)
    torch.set_num_threads(lesson.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    study = lesson.study
    data = lesson.data(0, Place(device=str(device)), study.teacher_data)
    if not lesson.source.ready(lesson.patient):
        for row in lesson.source.train(lesson.patient, data, device):
            yield asdict(row)
    yield {"record": record(lesson.teacher().to(device), data)}
