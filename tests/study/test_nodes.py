"""Nodes that die, freeze or are taken away while a study runs: the numbers are the same."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from machines import Machines, end, family
from ray._private.node import Node
from runs import finish, numbers, reports, start, trials, undisturbed, wait_for

from raykd.store import open_store

LONG = Path(__file__).with_name("long.py")
RAY = Path(sys.executable).with_name("ray")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    cluster = Machines(workers=2)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def unbroken(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("unbroken"), RAY_ADDRESS=machines.address)


def same(root: Path, unbroken: Path, output: str) -> None:
    assert trials(root) == trials(unbroken), output
    assert numbers(root) == numbers(unbroken), output


def test_a_node_killed_and_one_frozen(machines: Machines, unbroken: Path, tmp_path: Path) -> None:
    """One after the other; the cohorts go on where there is room, from their last epochs."""
    process = start(tmp_path, RAY_ADDRESS=machines.address)
    wait_for(lambda: reports(tmp_path) >= 2)
    machines.kill(machines.workers.pop(0))
    machines.workers.append(machines.add())
    before = reports(tmp_path)
    wait_for(lambda: reports(tmp_path) >= before + 4)
    frozen = machines.freeze(machines.workers.pop(0))
    machines.workers.append(machines.add())
    output = finish(process)
    end(frozen)
    assert process.returncode == 0, output
    same(tmp_path, unbroken, output)


def test_a_spot_notice_saves_what_is_learned_in_mid_epoch(
    machines: Machines, tmp_path: Path
) -> None:
    """The epoch goes on elsewhere from the batch at which the notice came."""
    address = {"RAY_ADDRESS": machines.address}
    expected = undisturbed(tmp_path / "unbroken", script=LONG, **address)
    root = tmp_path / "taken"
    process = start(root, script=LONG, **address)
    wait_for(lambda: reports(root, "long") >= 1)
    [node] = [n for n in machines.workers if _works(n)]
    notice = ["drain-node", "--address", machines.address, "--node-id", node.node_id]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    grace = ["--deadline-remaining-seconds", "30"]
    subprocess.run([str(RAY), *notice, *reason, *grace], check=True, capture_output=True)
    folder = open_store(str(root)).folder
    wait_for(lambda: any("s0" in path for path in folder.list("long/checkpoints")), seconds=30)
    machines.workers.remove(node)
    machines.kill(node)
    machines.workers.append(machines.add())
    output = finish(process)
    assert process.returncode == 0, output
    assert numbers(root, "long") == numbers(expected, "long"), output
    rows = open_store(str(root)).study("long").curve("0000").to_pylist()
    shown = [round(row["seconds"] * row["images_per_second"]) for row in rows]
    assert min(shown) < max(shown), "no epoch was gone on with in its middle"


def _works(node: Node) -> bool:
    """Whether the node's processes are busy: the cohort is on it."""
    found = [p for p in family(node) if "Func" in " ".join(p.cmdline())]
    return any(p.status() != psutil.STATUS_ZOMBIE for p in found)
