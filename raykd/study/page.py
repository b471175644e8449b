"""Writes the report of a study, by running `raykd report` in a process of its own."""

import subprocess
import sys


def write_page(storage: str, name: str) -> None:
    """Writes the report of a study.

    A process of its own makes it, because `raykd.report` needs neither torch nor Ray.

    Args:
        storage: The store: a folder or `s3://bucket/prefix`.
        name: The study's name.

    Raises:
        RuntimeError: The command failed; it has printed the reason on the terminal.
    """
    command = ["report", storage, name]
    done = subprocess.run([sys.executable, "-m", "raykd.cli", *command], check=False)
    if done.returncode:
        raise RuntimeError(
            f"the study {name} is complete, but `raykd {' '.join(command)}` can't write its page"
        )
