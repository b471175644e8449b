"""Provenance of a study: the command, code, package versions and machine that made it."""

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
    """Returns the command, commit, versions, machine and time, as JSON-serialisable values."""
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
    """Returns the command that started this process, ready to be pasted into a shell.

    The command works in the same folder. `RAYKD_` variables that set options of the study stand
    before it, and outside of a Ray job also `RAY_ADDRESS`; other variables, credentials among them,
    are left out. In a Ray job it is the command that submits the job.
    """
    names = {name for name in os.environ if name.startswith("RAYKD_")} - {NODE_TYPES}
    submit = ["ray", "job", "submit", "--working-dir", ".", "--"]
    if _JOB not in os.environ:
        names |= {"RAY_ADDRESS"} & os.environ.keys()
        submit = []
    settings = [f"{name}={os.environ[name]}" for name in sorted(names)]
    return shlex.join([*submit, *(["env", *settings] if settings else []), *sys.orig_argv])


def _commit() -> str:
    """Returns the commit of the checkout that raykd runs from, or "" if there is none.

    It ends in `-dirty` if files of the checkout were changed.
    """
    folder = Path(raykd.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
