"""How many cohorts fit."""

import json
import socket
from pathlib import Path

import pytest

from raykd.runtime import capacity
from raykd.runtime.capacity import cohorts_at_a_time, slots


@pytest.mark.parametrize(
    ("need", "nodes", "count"),
    [
        ({"CPU": 1.0}, [{"CPU": 4.0}], 4),
        ({"CPU": 3.0}, [{"CPU": 4.0}, {"CPU": 7.0}], 3),
        ({"CPU": 2.0, "GPU": 1.0}, [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 3.0, "GPU": 4.0}], 5),
        ({"CPU": 1.0, "GPU": 0.0}, [{"CPU": 2.0}], 2),
        ({"CPU": 1.0, "GPU": 1.0}, [{"CPU": 64.0}], 0),
        ({"CPU": 1.0, "GPU": 0.5}, [{"CPU": 8.0, "GPU": 1.0}], 2),
        ({"CPU": 0.1}, [{"CPU": 0.3}], 3),
        ({"CPU": 1.0}, [], 0),
    ],
)
def test_slots(need: dict[str, float], nodes: list[dict[str, float]], count: int) -> None:
    """What fits on a node fits on a node; two halves of two nodes make none."""
    assert slots(need, nodes) == count


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head without GPUs, a dead node, and a group of two GPU nodes that may be started."""
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    monkeypatch.setattr(capacity.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(capacity, "_groups", lambda: [{"CPU": 8.0, "GPU": 2.0}] * 2)


@pytest.mark.usefixtures("cluster")
def test_what_the_cluster_can_grow_to_counts() -> None:
    assert cohorts_at_a_time({"CPU": 1.0, "GPU": 1.0}, workers=1) == 4
    assert cohorts_at_a_time({"CPU": 1.0, "GPU": 1.0}, workers=3) == 1
    assert cohorts_at_a_time({"CPU": 1.0, "GPU": 0.0}, workers=1) == 16
    assert capacity.has("GPU")
    assert not capacity.has("TPU")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("need", "workers"),
    [({"CPU": 1.0, "GPU": 4.0}, 1), ({"CPU": 1.0, "GPU": 1.0}, 5), ({"CPU": 9.0}, 1)],
)
def test_no_room_for_one_cohort(need: dict[str, float], workers: int) -> None:
    with pytest.raises(ValueError, match="no room for even one cohort: it needs") as told:
        cohorts_at_a_time(need, workers)
    text = str(told.value)
    assert "the cluster has 4 CPU and 0 GPU on a node; 8 CPU and 2 GPU on a node" in text
    assert text.endswith("Ask for less with --workers, cpus= or gpus=, or add nodes")


def test_growth_is_that_of_the_cluster_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of which there may be none, as the head's, is none."""
    kind = "{resources: {CPU: 8, GPU: 1}, max_workers: 8}"
    types = f"{{spot: {kind}, on_demand: {kind}, head: {{resources: {{CPU: 0}}, max_workers: 0}}}}"
    monkeypatch.setenv(capacity.NODE_TYPES, types)
    each = {"CPU": 8.0, "GPU": 1.0}
    assert capacity.growth() == [(each, 8), (each, 8)]
    monkeypatch.delenv(capacity.NODE_TYPES)
    assert capacity.growth() == []


def test_growth_stops_at_the_cluster_s_own_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    kind = {"resources": {"CPU": 8.0}, "max_workers": 8}
    config = {"max_workers": 10, "available_node_types": {"spot": kind, "on_demand": kind}}
    (tmp_path / capacity.BOOTSTRAP).write_text(json.dumps(config))
    assert capacity.growth() == []  # a local cluster does not grow
    with socket.create_server(("", 0)) as head:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{head.getsockname()[1]}")
        assert [count for _, count in capacity.growth()] == [8, 2]
