"""Capacity of a Ray cluster: the number of cohorts it has room for, now or fully grown."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import ray
import yaml

from raykd.runtime.cluster import named

Resources = Mapping[str, float]
NODE_TYPES = "RAYKD_NODE_TYPES"
"""Environment variable with the node types that the autoscaler may start, as YAML."""
BOOTSTRAP = "ray_bootstrap_config.yaml"
"""Name of the cluster file that `ray up` leaves in the head node's home folder."""
UNLIMITED = 64
"""Largest number of nodes that is assumed if the cluster file sets no limit."""


def slots(need: Resources, nodes: Iterable[Resources]) -> int:
    """Returns how many times `need` fits on the nodes."""
    return sum(
        min(int(node.get(name, 0) / amount + 1e-9) for name, amount in need.items() if amount)
        for node in nodes
    )


def cohorts_at_a_time(need: Resources, workers: int) -> int:
    """Returns how many cohorts fit on the cluster, or on the fully grown cluster if it can grow.

    Args:
        need: Resources of one worker.
        workers: Number of workers of a cohort.

    Raises:
        ValueError: There is no room for even one cohort.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    groups = _groups()
    room = max(slots(need, nodes), slots(need, groups)) // workers
    if room < 1:
        wants = " and ".join(f"{amount:g} {name}" for name, amount in need.items() if amount)
        has = "; ".join(_describe_node(node) for node in [*nodes, *groups[:3]]) or "no node at all"
        raise ValueError(
            f"there is no room for even one cohort: it needs {workers} times ({wants}), and the"
            f" cluster has {has}. Ask for less with --workers, cpus= or gpus=, or add nodes"
        )
    return room


def has(resource: str) -> bool:
    """Returns True if the cluster has any amount of a resource, or can grow to have it."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return any(node.get(resource, 0.0) > 0 for node in [*nodes, *_groups()])


def growth() -> list[tuple[dict[str, float], int]]:
    """Returns the resources of each node type that an autoscaler may start, and its node count.

    Ray has no request for these limits. They are read from `RAYKD_NODE_TYPES`, which has the
    content of `available_node_types` of a cluster file, or else from the cluster file that `ray up`
    leaves on the head node, where jobs run.
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
    for kind in types.values():  # all node types together have no more than `most` nodes
        if count := min(most, kind.get("max_workers", most)):
            resources = {name: float(amount) for name, amount in kind["resources"].items()}
            found.append((resources, count))
            most -= count
    return found


def _groups() -> list[dict[str, float]]:
    """Returns the resources of each node that an autoscaler may start."""
    return [resources for resources, count in growth() for _ in range(count)]


def _describe_node(node: Resources) -> str:
    return f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU on a node"
