"""Ray Train's workers killed, frozen, and with the node that they are on."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from machines import Machines, end
from runs import finish, numbers, reports, start, undisturbed, wait_for

from raykd.store import open_store

LONG, ELASTIC = (Path(__file__).with_name(f"{name}.py") for name in ("long", "elastic"))
HEALTH = {"RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "5"}
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def in_actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("actor"), script=LONG)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_killed_or_frozen(in_actor: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """Ray Train starts another one; a frozen one is found out by its health check."""
    process = start(tmp_path, "--workers", "1", script=LONG, **HEALTH)
    wait_for(lambda: reports(tmp_path, "long") >= 1)
    family = psutil.Process(process.pid).children(recursive=True)
    [worker] = [p for p in family if "RayTrainWorker" in " ".join(p.cmdline())]
    worker.send_signal(sent)
    output = finish(process)
    end([worker])
    assert process.returncode == 0, output
    assert numbers(tmp_path, "long") == numbers(in_actor, "long")


@pytest.fixture
def machines() -> Iterator[Machines]:
    cluster = Machines(workers=2, dashboard=True)
    yield cluster
    cluster.stop()


def test_workers_come_and_go(machines: Machines, tmp_path: Path) -> None:
    """Two workers, one when the other's node is gone, and two again with a new node."""
    process = start(tmp_path, script=ELASTIC, RAY_ADDRESS=machines.address)
    wait_for(lambda: reports(tmp_path, "elastic") >= 1)
    machines.kill(machines.workers.pop())
    wait_for(lambda: sizes(tmp_path)[-1] == 16)
    machines.workers.append(machines.add())
    wait_for(lambda: sizes(tmp_path)[-1] == 8)
    process.send_signal(signal.SIGINT)
    output = finish(process)
    assert process.returncode == 130, output
    seen = sizes(tmp_path)
    alone = seen.count(16)
    assert seen == [8] * seen.index(16) + [16] * alone + [8] * (len(seen) - seen.index(16) - alone)


def sizes(root: Path) -> list[float]:
    """A worker's share of a batch of 16 in each epoch."""
    return open_store(str(root)).study("elastic").curve("0000")["worker_batch"].to_pylist()
