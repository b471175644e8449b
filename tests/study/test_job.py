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
from runs import reports, wait_for

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
    environment = {**os.environ, "RAY_ADDRESS": address}  # which goes before --address
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


@pytest.mark.long
def test_read_stopped_and_gone_on_with(cluster: str, moto_s3: str) -> None:
    """By Ray's own commands; raykd comes from the working directory, as where none is installed."""
    package = ["python", "-c", "import raykd; print(raykd.__file__)"]
    where = submit("submit", cluster, "--working-dir", ".", "--", *package)
    assert "runtime_resources/working_dir_files" in where.stdout, where.stdout + where.stderr

    study = ["--working-dir", ".", "--", "python", "tests/study/long.py", "--storage", moto_s3]
    begun = submit("submit", cluster, "--no-wait", "--submission-id", "first", *study)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    wait_for(lambda: reports(moto_s3, "long") >= 1)
    assert "teacher ready" in submit("logs", cluster, "first").stdout
    stopped = submit("stop", cluster, "first")
    assert "was stopped" in stopped.stdout + stopped.stderr
    assert reports(moto_s3, "long") < 3, "it was stopped too late"

    again = submit("submit", cluster, *study)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "teacher  epoch" not in again.stdout
    assert reports(moto_s3, "long") == 3
