"""Ray Train runs a cohort with the same numbers as the Tune actor does."""

import subprocess
import sys
from pathlib import Path

import pytest

from raykd.store import open_store

TINY = Path(__file__).with_name("tiny.py")
TIMES = ("seconds", "share_seconds", "data_wait_seconds", "images_per_second")


def numbers(root: Path) -> dict[tuple[str, int, str], float]:
    rows = open_store(str(root)).study("tiny").metrics().to_pylist()
    return {
        (row["trial"], row["epoch"], row["name"]): row["value"]
        for row in rows
        if row["name"] not in TIMES
    }


@pytest.mark.slow
def test_train_worker_and_tune_actor_give_the_same_numbers(tmp_path: Path) -> None:
    for workers in ("0", "1"):
        root = tmp_path / workers
        options = ["--workers", workers, "--trials", "2", "--epochs", "2", "--no-report"]
        command = [sys.executable, str(TINY), "--storage", str(root), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
    assert numbers(tmp_path / "0") == numbers(tmp_path / "1")
