"""`raykd doctor`: looks for the usual faults of a cluster before a study is started."""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raykd.runtime.authentication import WHAT_TO_SET, check_token
from raykd.runtime.capacity import growth
from raykd.runtime.cluster import ADDRESS, named, own_folders
from raykd.runtime.working_directory import deleted_with_job, enter
from raykd.store import Folder, StoreError, open_store

PACKAGES = ("ray", "torch", "torchvision", "optuna", "pyarrow", "botocore", "numpy")
"""Packages that must have the same version on all nodes and this machine."""
CLOCK_SECONDS = 5.0
"""Largest accepted difference of two clocks, in seconds.

S3 refuses requests whose time is 15 minutes off, and leases of a study compare times of seconds.
"""
NODE_SECONDS = 180.0
"""Time that a node has to examine itself, in seconds."""
FROM_WITHIN = (
    "give the head's host:6379 from within its network, or run this as a job: `ray job submit"
    " --address http://<head>:8265 -- raykd doctor`"
)

Level = Literal["ok", "fault"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's output.

    Attributes:
        level: `ok` or `fault`.
        text: Description of the finding and, for a fault, the remedy.
    """

    level: Level
    text: str


@dataclass(frozen=True)
class Requirements:
    """Requirements of the study that is to run on the cluster.

    Attributes:
        address: Address of the cluster; None for the one that the environment names, or a local
            one.
        storage: Folder or address for the results; not checked if empty.
        data: Path that every node must be able to read; not checked if empty.
        gpus: True if the study needs GPUs.
        directory: Folder that relative paths start from.
    """

    address: str | None = None
    storage: str = ""
    data: str = ""
    gpus: bool = False
    directory: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True)
class Condition:
    """Condition of one machine, as a process on it sees it.

    Attributes:
        host: Host name.
        python: Version of Python, such as `3.11`.
        versions: Versions of the packages in `PACKAGES`.
        time: Time of the machine's clock, in seconds since the epoch.
        gpus: Number of GPUs that torch sees.
        faults: Descriptions of the faults found.
    """

    host: str
    python: str
    versions: dict[str, str]
    time: float
    gpus: int
    faults: list[str] = field(default_factory=list)


def examine(wishes: Requirements) -> Iterator[Finding]:
    """Examines this machine and the cluster, and yields the findings.

    It starts nothing on the cluster but one task without CPUs on each node that is up. If the
    cluster can't be reached, that is the last finding.
    """
    here = condition(wishes, on_node=False)
    yield from (Finding("fault", f"this machine: {fault}") for fault in here.faults)
    if wishes.storage and not here.faults:
        yield Finding("ok", f"{wishes.storage} can be read and written from here")
    by_name = wishes.address or os.environ.get(ADDRESS)
    try:
        address = named(wishes.address)
        check_token(address, named=by_name not in (None, "", "auto"))
    except ConnectionError as error:
        yield Finding("fault", f"{error}; {FROM_WITHIN}")
        return
    except PermissionError as error:
        yield Finding("fault", str(error))
        return
    try:
        package = str(Path(__file__).parents[1])
        ray.init(
            address,
            runtime_env={"py_modules": [package]} if address else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=None if address else False,
            **({} if address else own_folders()),
        )
    except (ConnectionError, RayError, RuntimeError, ValueError, TimeoutError) as error:
        yield Finding("fault", _unreached(address, error))
        return
    try:
        yield from _cluster(wishes, here)
    finally:
        ray.shutdown()


def condition(wishes: Requirements, *, on_node: bool = True) -> Condition:
    """Examines this machine: its versions, clock and GPUs, and its access to store and data."""
    import torch

    faults = []
    if on_node:
        enter(wishes.directory)
    if wishes.storage and deleted_with_job(wishes.storage):
        faults.append(
            f"the storage {wishes.storage} lies in a job's own copy of the working directory, which"
            " Ray deletes; name a bucket, or a folder that all nodes share"
        )
    elif wishes.storage:
        try:
            open_store(wishes.storage, create=True).folder.check(write=True)
        except StoreError as error:
            faults.append(str(error))
    if on_node and wishes.data and (fault := _data(wishes.data)):
        faults.append(fault)
    return Condition(
        host=socket.gethostname(),
        python=".".join(map(str, sys.version_info[:2])),
        versions={name: version(name) for name in PACKAGES},
        time=time.time(),
        gpus=torch.cuda.device_count(),
        faults=faults,
    )


def _data(path: str) -> str:
    """Returns the fault that keeps this machine from reading the data, or "" if it can read."""
    if "://" not in path:
        if not Path(path).expanduser().exists():
            return f"the data {path} is not there; put it on S3 or on a file system of all nodes"
        if not os.access(Path(path).expanduser(), os.R_OK):
            return f"the data {path} must not be read; give this user the right to"
        return ""
    try:
        folder = Folder(path)
        folder.check(write=False)
        found = folder.folders()
    except StoreError as error:
        return f"the data {path} can't be read ({error}); give the node's role the right to"
    return "" if found else f"the data {path} is not there; upload it, or correct it"


def _unreached(address: str | None, error: Exception) -> str:
    """Returns the text of the finding that the cluster can't be reached."""
    said = " ".join(str(error).split())
    if "ersion mismatch" in said:
        return f"the cluster runs other versions than this machine ({said[:300]}); make them equal"
    if "token" in said.lower() or "unauth" in said.lower():
        return f"the cluster at {address} refuses this machine ({said[:200]}); {WHAT_TO_SET}"
    return (
        f"no Ray cluster answers at {address} ({type(error).__name__}: {said[:200]}); {FROM_WITHIN}"
    )


def _cluster(wishes: Requirements, here: Condition) -> Iterator[Finding]:
    """Examines the cluster that this process has joined, node by node."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    yield Finding("ok", f"the cluster answers; nodes that are up: {len(nodes)}")
    if groups := growth():
        kinds = "; ".join(f"{count} of {_told(kind)}" for kind, count in groups)
        yield Finding("ok", f"it can grow by {kinds}; what is not up yet is not examined")
    room = [*(node["Resources"] for node in nodes), *(kind for kind, _ in groups)]
    if wishes.gpus and not any(kind.get("GPU", 0) for kind in room):
        yield Finding(
            "fault",
            "no node has a GPU, nor can the cluster grow to have one; add a GPU node type to the"
            " cluster file, or start the node with --num-gpus",
        )
    for node in nodes:
        yield from _node(wishes, here, node)


def _node(wishes: Requirements, here: Condition, node: dict[str, Any]) -> Iterator[Finding]:
    """Examines a node, by a task that takes none of its CPUs, and compares it with this machine."""
    affinity = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(condition).options(num_cpus=0, max_retries=0, scheduling_strategy=affinity)
    name = f"node {node['NodeManagerAddress']}"
    before = time.time()
    try:
        seen: Condition = ray.get(task.remote(wishes), timeout=NODE_SECONDS)
    except RayError as error:
        reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1][:300]
        yield Finding(
            "fault",
            f"{name} can't run raykd ({reason}); install there what requirements.txt has",
        )
        return
    faults = list(seen.faults)
    if seen.python != here.python:
        faults.append(f"it has Python {seen.python} and this machine {here.python}")
    for package, wanted in here.versions.items():
        if seen.versions[package] != wanted:
            faults.append(f"it has {package} {seen.versions[package]} and this machine {wanted}")
    if not before - CLOCK_SECONDS <= seen.time <= time.time() + CLOCK_SECONDS:
        faults.append(f"its clock is {seen.time - before:+.0f} s off; let chrony or ntpd set it")
    promised = node["Resources"].get("GPU", 0)
    if promised and seen.gpus < promised:
        faults.append(
            f"Ray counts {promised:g} GPUs there and torch sees {seen.gpus}; look at"
            " nvidia-smi there, and install a CUDA build of torch"
        )
    for fault in faults:
        yield Finding("fault", f"{name}: {fault}")
    if not faults:
        checked = [f"Ray {seen.versions['ray']}, torch {seen.versions['torch']}"]
        checked.append(f"{seen.gpus} GPUs" if promised else _told(node["Resources"]))
        checked += ["store writable"] * bool(wishes.storage) + ["data readable"] * bool(wishes.data)
        yield Finding("ok", f"{name}: {', '.join(checked)}, clock right")


def _told(resources: dict[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU"
