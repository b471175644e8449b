"""A cluster that starts with a head alone grows to what a study can use, and shrinks again."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
import yaml
from machines import free_port, stop
from runs import TINY, reports

from raykd.runtime.capacity import BOOTSTRAP

REPO = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
HEAD = "f" * 51 + "00000"
"""The id that the provider of made-up nodes wants the head to have."""
HEAD_TYPE = "ray.head.default"
"""And the name of its type."""
WORKER_CPUS = 1
TWO_COHORTS = ("--no-report", "--trials", "3", "--epochs", "3")
pytestmark = pytest.mark.slow


@dataclass
class Watch:
    """Looks at the cluster while the study runs, through GCS, as a user's `ray status` does.

    Attributes:
        alive: Worker nodes over time: pairs of seconds and a count, one for each change.
        asked: The most cohorts that had asked for room before there was room for two.
    """

    address: str
    alive: list[tuple[float, int]] = field(default_factory=list)
    asked: int = 0
    done: Event = field(default_factory=Event)

    def __enter__(self) -> "Watch":
        self._thread = Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self._thread.join()

    def _run(self) -> None:
        from ray._private.state import GlobalState
        from ray._raylet import GcsClientOptions

        state = GlobalState()
        state._initialize_global_state(
            GcsClientOptions.create(self.address, None, True, fetch_cluster_id_if_nil=True)
        )
        began = time.monotonic()
        while not self.done.wait(0.2):
            workers = [
                node
                for node in state.node_table()
                if node["Alive"] and node["Resources"].get("CPU", 0) == WORKER_CPUS
            ]
            if not self.alive or self.alive[-1][1] != len(workers):
                self.alive.append((time.monotonic() - began, len(workers)))
            wanted = [
                group
                for group in state.placement_group_table().values()
                if group["state"] in ("PENDING", "CREATED")
            ]
            if len(workers) < 2:
                self.asked = max(self.asked, len(wanted))


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A head under autoscaler v2 whose worker types are those of `cluster/aws.yaml`.

    The machine's CPUs stand for its GPUs, and at most two workers may be started.
    """
    given = yaml.safe_load((REPO / "cluster" / "aws.yaml").read_text())
    [head] = [given["head_node_type"]]
    types = given["available_node_types"]
    port = free_port()
    where = subprocess.run(
        [sys.executable, "-c", "import ray; print(ray.util.get_node_ip_address())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    gcs = f"{where}:{port}"
    workers = {
        name: {
            "resources": {"CPU": WORKER_CPUS, "object_store_memory": 80_000_000},
            "node_config": {},
            "min_workers": kind.get("min_workers", 0),
            "max_workers": 1,
        }
        for name, kind in types.items()
        if name != head
    }
    config = {
        "cluster_name": "made-up",
        "max_workers": 2,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": gcs,
            "launch_multiple": True,
            "head_node_id": HEAD,
        },
        "available_node_types": {
            **workers,
            HEAD_TYPE: {
                "resources": types[head]["resources"],
                "node_config": {},
                "max_workers": 0,
            },
        },
        "head_node_type": HEAD_TYPE,
        "upscaling_speed": given.get("upscaling_speed", 1.0),
        "idle_timeout_minutes": 0.1,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        **{
            f"{kind}_commands": []
            for kind in (
                *("initialization", "setup", "head_setup", "worker_setup"),
                *("head_start_ray", "worker_start_ray"),
            )
        },
    }
    file = tmp_path / BOOTSTRAP  # as `ray up` leaves it in the head's home
    file.write_text(json.dumps(config))
    short = tempfile.mkdtemp(prefix="ray")
    environment = {
        **os.environ,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    }
    options = [
        f"--port={port}",
        f"--autoscaling-config={file}",
        "--num-cpus=0",
        f"--resources={json.dumps({'driver': 100})}",
        "--object-store-memory=200000000",
        "--include-dashboard=false",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--dashboard-agent-grpc-port={free_port()}",
        f"--ray-client-server-port={free_port()}",
        f"--temp-dir={short}",
        "--block",
    ]
    log = (tmp_path / "head.log").open("w")
    started = subprocess.Popen(
        [str(RAY), "start", "--head", *options], env=environment, stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + 300
        while socket.socket().connect_ex((where, port)):
            assert started.poll() is None, (tmp_path / "head.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield gcs
    finally:
        stop(started)
        log.close()
        shutil.rmtree(short, ignore_errors=True)


def test_grows_from_nothing_and_shrinks_to_nothing(address: str, tmp_path: Path) -> None:
    with Watch(address) as watch:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(TINY), "--storage", str(tmp_path / "results"), *TWO_COHORTS],
            env={**os.environ, "RAY_ADDRESS": address, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        ended = time.monotonic() - began
        deadline = time.monotonic() + 120
        while watch.alive[-1][1] and time.monotonic() < deadline:
            time.sleep(0.5)
    counts = [count for _, count in watch.alive]
    assert counts[0] == 0
    assert max(counts) == 2, watch.alive
    assert counts[-1] == 0, watch.alive
    assert watch.asked == 2  # the demand shows at once, not a node at a time
    assert reports(tmp_path / "results") > 0
    print(f"study {ended:.0f} s; workers over time: {watch.alive}")
