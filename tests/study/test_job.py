"""`ray job submit` runs a study script on a real cluster, with results in S3."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import free_port, stop

from raykd.store import open_store

REPO = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(moto_s3: str, tmp_path: Path) -> Iterator[str]:
    """The dashboard's address of a head that was started as on a server, by process id stopped."""
    dashboard = free_port()
    short = tempfile.mkdtemp(prefix="ray")  # a socket's path has at most 107 characters
    environment = {
        **os.environ,
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    options = [
        f"--port={free_port()}",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--dashboard-agent-grpc-port={free_port()}",
        f"--ray-client-server-port={free_port()}",
        f"--temp-dir={short}",
        "--num-cpus=2",
        "--object-store-memory=200000000",
        "--include-dashboard=true",
        "--block",
    ]
    log = (tmp_path / "head.log").open("w")
    head = subprocess.Popen(
        [str(RAY), "start", "--head", *options], env=environment, stdout=log, stderr=log
    )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        deadline = time.monotonic() + 600
        while True:
            listed = submit("list", address)
            if listed.returncode == 0:
                break
            told = (tmp_path / "head.log").read_text()
            assert head.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(1)
        yield address
    finally:
        stop(head)
        log.close()
        shutil.rmtree(short, ignore_errors=True)


def submit(verb: str, address: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(RAY), "job", verb, "--address", address, *options]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    return subprocess.run(
        command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=900
    )


def test_submitted_both_ways(cluster: str, moto_s3: str) -> None:
    command = ["--working-dir", ".", "--", "python", "studies/glyphs_itrd.py", "--smoke"]
    done = submit("submit", cluster, *command, "--storage", moto_s3)
    assert done.returncode == 0, done.stdout + done.stderr
    study = open_store(moto_s3).study("glyphs_itrd_smoke")
    [best] = study.best()
    before = study.metrics().num_rows
    assert best.state == "COMPLETE"
    assert "teacher" in done.stdout

    # the script alone, by its shebang, its options from the environment; nothing is left to do
    variables = json.dumps({"env_vars": {"RAYKD_SMOKE": "1", "RAYKD_STORAGE": moto_s3}})
    options = ["--working-dir", ".", "--runtime-env-json", variables]
    again = submit("submit", cluster, *options, "studies/glyphs_itrd.py")
    assert again.returncode == 0, again.stdout + again.stderr
    study.refresh()
    assert study.metrics().num_rows == before
