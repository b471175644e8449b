"""Where and with what a study was made."""

import os
import platform
import shlex
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import raykd
from raykd.runtime.capacity import NODE_TYPES

_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The environment variable that Ray sets in the process of a submitted job."""


def provenance() -> dict[str, Any]:
    """Command, commit, versions, machine and time, as JSON."""
    packages = ("raykd", "torch", "torchvision", "ray", "optuna", "pyarrow", "numpy")
    return {
        "command": command(),
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "hardware": {
            "processor": platform.processor() or platform.machine(),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
        "host": socket.gethostname(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def command() -> str:
    """Returns the command that this process was started by, to be pasted into a shell.

    It works in the same folder. Options of the study that came from `RAYKD_` variables stand before
    it, and so does the cluster; other variables, credentials among them, are left out. In a job of
    Ray's it is the command that submits the job.
    """
    names = {name for name in os.environ if name.startswith("RAYKD_")} - {NODE_TYPES}
    submit = ["ray", "job", "submit", "--working-dir", ".", "--"]
    if _JOB not in os.environ:
        names |= {"RAY_ADDRESS"} & os.environ.keys()
        submit = []
    settings = [f"{name}={os.environ[name]}" for name in sorted(names)]
    return shlex.join([*submit, *(["env", *settings] if settings else []), *sys.orig_argv])


def _commit() -> str:
    """The commit of the checkout that raykd runs from, with a mark where it was changed."""
    folder = Path(raykd.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
