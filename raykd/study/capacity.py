"""How many cohorts a cluster has room for, now or once it has grown."""

from collections.abc import Iterable, Mapping

import ray
from ray._private.state import state

Resources = Mapping[str, float]
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


def most(resource: str) -> float:
    """What the node with the most of a resource has, one that is up or one that may be started."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max((node.get(resource, 0.0) for node in [*nodes, *_groups()]), default=0.0)


def has(resource: str) -> bool:
    """Whether the cluster has any of a resource, or can grow to have it."""
    return most(resource) > 0


def growth() -> list[tuple[dict[str, float], int]]:
    """The kinds of nodes that an autoscaler may start, and how many of each."""
    config = state.get_cluster_config()
    return [
        (dict(group.resources), group.max_count if group.max_count >= 0 else UNLIMITED)
        for group in (config.node_group_configs if config else [])
        if group.max_count
    ]


def _groups() -> list[dict[str, float]]:
    """The nodes that an autoscaler may start, one by one."""
    return [resources for resources, count in growth() for _ in range(count)]


def _told(node: Resources) -> str:
    return f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU on a node"
