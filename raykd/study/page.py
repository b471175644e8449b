"""The page of a study, which `raykd report` writes in a process of its own."""

import subprocess
import sys


def write_page(storage: str, name: str) -> None:
    """Runs `raykd report`: reports are made without torch and Ray, and import neither.

    Raises:
        RuntimeError: It failed; the command has said why on the terminal.
    """
    command = ["report", storage, name]
    done = subprocess.run([sys.executable, "-m", "raykd.cli", *command], check=False)
    if done.returncode:
        raise RuntimeError(
            f"the study {name} is complete, but `raykd {' '.join(command)}` can't write its page"
        )
