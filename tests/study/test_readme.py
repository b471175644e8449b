"""The README's own-data script, as a user copies it."""

import subprocess
import sys
from pathlib import Path

import pytest
from readme import write_script

from raykd.store import open_store

pytestmark = pytest.mark.slow


def test_the_script_finds_photographs_beside_it_and_writes_the_page(tmp_path: Path) -> None:
    """With data and results named relative to the folder it is started in."""
    script = write_script(tmp_path)
    options = ["--trials", "1", "--epochs", "1", "--batch-size", "8"]
    done = subprocess.run(
        [sys.executable, script.name, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = open_store(tmp_path / "results")
    assert store.studies() == ["mine"]
    states = {row["state"] for row in store.study("mine").trials().to_pylist()}
    assert states == {"COMPLETE"}
    assert (tmp_path / "results" / "mine" / "report.html").is_file()
