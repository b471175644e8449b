"""Where and with what a study was made."""

import platform
import socket
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import raykd


def origin() -> dict[str, Any]:
    """Commit, versions, machine and time, as JSON."""
    packages = ("raykd", "torch", "torchvision", "ray", "optuna", "pyarrow", "numpy")
    return {
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


def _commit() -> str:
    """The commit of the checkout that raykd runs from, with a mark where it was changed."""
    folder = Path(raykd.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
