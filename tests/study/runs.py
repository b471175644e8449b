"""Studies that run as a user's do, in processes of their own, and what they leave behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from raykd.store import open_store

TINY = Path(__file__).with_name("tiny.py")
TIMES = ("seconds", "share_seconds", "data_wait_seconds", "images_per_second")

Numbers = dict[tuple[str, int, str], float]


def start(
    root: object, *options: str, script: Path = TINY, **environment: str
) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), "--storage", str(root), "--no-report", *options]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    process.began = time.monotonic()  # type: ignore[attr-defined]
    return process


def finish(process: subprocess.Popen[str]) -> str:
    """Waits for the end; prints how long it took, which `pytest -s` shows: docs/reliability.md."""
    output, _ = process.communicate(timeout=900)
    seconds = time.monotonic() - process.began  # type: ignore[attr-defined]
    name = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("::")[2]
    print(f"\n{name}: {seconds:.0f} s")
    return output


def undisturbed(root: Path, *options: str, script: Path = TINY, **environment: str) -> Path:
    """Runs a study to its end."""
    process = start(root, *options, script=script, **environment)
    output = finish(process)
    assert process.returncode == 0, output
    return root


def run_here(root: object, *options: str) -> None:
    """Runs the tiny study in this process, which has imported Ray and torch already."""
    from tiny import study

    study.main(["--storage", str(root), "--no-report", *options])


def numbers(root: object, study: str = "tiny") -> Numbers:
    """All metrics but for the clock's."""
    rows = open_store(str(root)).study(study).metrics().to_pylist()
    return {
        (row["trial"], row["epoch"], row["name"]): row["value"]
        for row in rows
        if row["name"] not in TIMES
    }


def trials(root: object, study: str = "tiny") -> dict[str, tuple[object, ...]]:
    rows = open_store(str(root)).study(study).trials().to_pylist()
    return {
        r["trial"]: (r["state"], r.get("config_alpha"), r.get("config_lr"), r["reason"])
        for r in rows
    }


def wait_for(condition: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.2)


def reports(root: object, study: str = "tiny") -> int:
    """Epochs of cohorts that are in the store."""
    try:
        rows = open_store(str(root)).study(study).trials().to_pylist()
    except ValueError:
        return 0
    return sum(row["epoch"] or 0 for row in rows if row["role"] != "teacher")
