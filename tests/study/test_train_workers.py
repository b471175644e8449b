"""Ray Train runs a cohort with the same numbers as the Tune actor does, whatever befalls it."""

import signal
from pathlib import Path

import psutil
import pytest
from machines import Machines
from runs import finish, numbers, reports, start, trials, wait_for

from raykd.store import open_store

ELASTIC = Path(__file__).with_name("elastic.py")
ONE_COHORT = ("--trials", "1", "--epochs", "4")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def in_actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("actor")
    process = start(root, *ONE_COHORT)
    output = finish(process)
    assert process.returncode == 0, output
    return root


def test_train_worker_and_tune_actor_give_the_same_numbers(in_actor: Path, tmp_path: Path) -> None:
    process = start(tmp_path, *ONE_COHORT, "--workers", "1")
    output = finish(process)
    assert process.returncode == 0, output
    assert numbers(tmp_path) == numbers(in_actor)
    assert trials(tmp_path) == trials(in_actor)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_killed_or_frozen_in_mid_training(
    in_actor: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    """Ray Train starts another worker; a frozen one is found out by its health check."""
    limits = {"RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "5"}
    process = start(tmp_path, *ONE_COHORT, "--workers", "1", **limits)
    wait_for(lambda: reports(tmp_path) >= 2)
    family = psutil.Process(process.pid).children(recursive=True)
    [worker] = [p for p in family if "RayTrainWorker" in " ".join(p.cmdline())]
    worker.send_signal(sent)
    output = finish(process)
    if worker.is_running():
        worker.kill()
    assert process.returncode == 0, output
    assert numbers(tmp_path) == numbers(in_actor)
    assert trials(tmp_path) == trials(in_actor)


def test_a_cohort_grows_when_a_node_comes(tmp_path: Path) -> None:
    """It begins with one worker; with two each sees half of the same global batch."""
    machines = Machines(workers=1, dashboard=True)
    try:
        process = start(tmp_path, script=ELASTIC, RAY_ADDRESS=machines.address)
        wait_for(lambda: reports(tmp_path, "elastic") >= 1)
        machines.add()
        output = finish(process)
    finally:
        machines.stop()
    assert process.returncode == 0, output
    curve = open_store(str(tmp_path)).study("elastic").curve("0000")
    assert curve["epoch"].to_pylist() == list(range(1, 31))
    shares = curve["worker_batch"].to_pylist()
    assert shares == sorted(shares, reverse=True)
    assert set(shares) == {16.0, 8.0}, output
