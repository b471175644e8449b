"""How many cohorts a cluster has room for, now or once it has grown."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import ray
import yaml

from raykd.runtime.cluster import named

Resources = Mapping[str, float]
NODE_TYPES = "RAYKD_NODE_TYPES"
BOOTSTRAP = "ray_bootstrap_config.yaml"
UNLIMITED = 64
"""So many nodes count where the cluster file sets no limit."""


def slots(need: Resources, nodes: Iterable[Resources]) -> int:
    """How many times `need` fits on the nodes."""
    return sum(
        min(int(node.get(name, 0) / amount + 1e-9) for name, amount in need.items() if amount)
        for node in nodes
    )


def cohorts_at_a_time(need: Resources, workers: int) -> int:
    """How many cohorts of so many workers fit on the cluster, fully grown where it can grow.

    Args:
        need: Resources of a worker.
        workers: Of a cohort.

    Raises:
        ValueError: There is no room for even one.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    groups = _groups()
    room = max(slots(need, nodes), slots(need, groups)) // workers
    if room < 1:
        wants = " and ".join(f"{amount:g} {name}" for name, amount in need.items() if amount)
        has = "; ".join(_told(node) for node in [*nodes, *groups[:3]]) or "no node at all"
        raise ValueError(
            f"there is no room for even one cohort: it needs {workers} times ({wants}), and the"
            f" cluster has {has}. Ask for less with --workers, cpus= or gpus=, or add nodes"
        )
    return room


def has(resource: str) -> bool:
    """Whether the cluster has any of a resource, or can grow to have it."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return any(node.get(resource, 0.0) > 0 for node in [*nodes, *_groups()])


def growth() -> list[tuple[dict[str, float], int]]:
    """The kinds of nodes that an autoscaler may start, and how many of each.

    No Ray process tells: `ray up` leaves its cluster file on the head, where studies run as jobs,
    and elsewhere `RAYKD_NODE_TYPES` has what would stand there under `available_node_types`.
    """
    given, file = os.environ.get(NODE_TYPES), Path.home() / BOOTSTRAP
    if given:
        types, most = yaml.safe_load(given), UNLIMITED
    elif file.is_file() and named():
        config = yaml.safe_load(file.read_text())
        types, most = config["available_node_types"], config.get("max_workers", UNLIMITED)
    else:
        return []
    found = []
    for kind in types.values():  # all kinds together have no more than `most`
        if count := min(most, kind.get("max_workers", most)):
            resources = {name: float(amount) for name, amount in kind["resources"].items()}
            found.append((resources, count))
            most -= count
    return found


def _groups() -> list[dict[str, float]]:
    """The nodes that an autoscaler may start, one by one."""
    return [resources for resources, count in growth() for _ in range(count)]


def _told(node: Resources) -> str:
    return f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU on a node"
