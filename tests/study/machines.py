"""Clusters of several nodes on this machine, and what can happen to them."""

import os
import signal
import socket
import subprocess
from typing import Any

import psutil
from ray._private.node import Node
from ray.cluster_utils import Cluster

MEGABYTE = 2**20
HEALTH = {  # a frozen node is given up after about five seconds instead of half a minute
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
}


class Machines:
    """A head that runs no trials, and workers of one CPU each: as in `cluster/aws.yaml`."""

    def __init__(self, workers: int, *, dashboard: bool = False) -> None:
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "resources": {"driver": 100},
                "object_store_memory": 150 * MEGABYTE,
                "include_dashboard": dashboard,
                "_system_config": HEALTH,
            },
        )
        self.workers = [self.add() for _ in range(workers)]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, **options: Any) -> Node:
        node: Node = self.cluster.add_node(
            num_cpus=1, object_store_memory=100 * MEGABYTE, **options
        )
        return node

    def kill(self, node: Node) -> None:
        """The machine is gone, without a word."""
        self.cluster.remove_node(node, allow_graceful=False)

    def freeze(self, node: Node) -> list[psutil.Process]:
        """The machine hangs: its raylet and all that it started stand still."""
        frozen = family(node)
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        return frozen

    def stop(self) -> None:
        self.cluster.shutdown()


def family(node: Node) -> list[psutil.Process]:
    """The processes of a node."""
    found: list[psutil.Process] = []
    for infos in node.all_processes.values():
        for info in infos:
            process = psutil.Process(info.process.pid)
            found += [process, *process.children(recursive=True)]
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def stop(head: subprocess.Popen[bytes]) -> None:
    """Ends a head that `ray start --block` started, by process id, with all that it started."""
    root = psutil.Process(head.pid)
    end([*root.children(recursive=True), root])


def end(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
