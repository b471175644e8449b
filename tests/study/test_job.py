"""`ray job submit` runs a study script on a real cluster that asks for its token."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from machines import free_port, stop
from readme import write_script
from runs import TINY, reports, wait_for

from raykd.store import open_store

REPO = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Head:
    """A head that was started as on a server, and what a process needs to be let in.

    Attributes:
        folder: Temporary; `RAYKD_STORAGE` of its jobs is `results` in it.
        port: Where Ray listens.
        dashboard: Where jobs are submitted.
        env: Of a process that has the token.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "RAY_ADDRESS": f"http://127.0.0.1:{self.dashboard}",  # goes before --address
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        }

    def submit(
        self, verb: str, *options: str, folder: Path = REPO
    ) -> subprocess.CompletedProcess[str]:
        command = [str(RAY), "job", verb, *options]
        return subprocess.run(
            command, cwd=folder, env=self.env, capture_output=True, text=True, timeout=900
        )


@pytest.fixture(scope="module")
def head(moto_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """One head for all tests, by process id stopped; jobs inherit its environment."""
    head = Head(tmp_path_factory.mktemp("head"))
    short = tempfile.mkdtemp(prefix="ray")  # a socket's path has at most 107 characters
    environment = {
        **head.env,
        **moto_server.env,
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAYKD_STORAGE": str(head.results),
    }
    del environment["RAY_ADDRESS"]
    options = [
        f"--port={head.port}",
        f"--dashboard-port={head.dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--dashboard-agent-grpc-port={free_port()}",
        f"--ray-client-server-port={free_port()}",
        f"--temp-dir={short}",
        "--num-cpus=2",
        "--object-store-memory=200000000",
        "--include-dashboard=true",
        "--block",
    ]
    log = (head.folder / "head.log").open("w")
    process = subprocess.Popen(
        [str(RAY), "start", "--head", *options], env=environment, stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + 600
        while head.submit("list").returncode:
            told = (head.folder / "head.log").read_text()
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(1)
        yield head
    finally:
        stop(process)
        log.close()
        shutil.rmtree(short, ignore_errors=True)


def test_the_readmes_script_reads_relative_paths_wherever_it_runs(
    head: Head, tmp_path: Path
) -> None:
    """Submitted alone, as the first of the README's commands; and after a change of a file."""
    script = write_script(tmp_path)
    options = ["--trials", "1", "--epochs", "1", "--batch-size", "8", "--no-report"]
    command = ["--working-dir", ".", "--", "python", script.name, *options]
    done = head.submit("submit", *command, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    study = open_store(head.results).study("mine")
    before = study.metrics()
    assert {row["state"] for row in study.trials().to_pylist()} == {"COMPLETE"}

    script.write_text(f"{script.read_text()}\n# another package, in another folder\n")
    again = head.submit("submit", *command, folder=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "epoch 1/1" in done.stdout
    assert "epoch 1/1" not in again.stdout, "something was trained again"
    study.refresh()
    assert study.metrics() == before

    lost = head.submit("submit", *command, "--storage", "results", folder=tmp_path)
    assert lost.returncode != 0
    assert "would be lost" in lost.stdout
    assert (
        f"`ray job submit --working-dir . -- python {script.name} {' '.join(options)}"
        " --storage s3://BUCKET/raykd`"
    ) in lost.stdout


def test_submitted_without_options(head: Head) -> None:
    """By its shebang: options come from the environment, results go where the head says."""
    variables = '{"env_vars": {"RAYKD_SMOKE": "1", "RAYKD_TRIALS": "1"}}'
    options = ["--working-dir", ".", "--runtime-env-json", variables]
    done = head.submit("submit", *options, "studies/glyphs_itrd.py")
    assert done.returncode == 0, done.stdout + done.stderr
    study = open_store(head.results).study("glyphs_itrd_smoke")
    roles = [row["role"] for row in study.trials().to_pylist()]
    assert len([role for role in roles if role in ("search", "first")]) == 1
    [best] = study.best()
    assert best.state == "COMPLETE"


@pytest.mark.parametrize(
    ("command", "change", "said"),
    [
        (
            ["-m", "raykd.cli", "doctor"],
            {"RAY_AUTH_MODE": "disabled"},
            "has none (RAY_AUTH_MODE is disabled)",
        ),
        ([str(TINY)], {"RAY_AUTH_TOKEN": "fedcba9876543210" * 4}, "has another one"),
    ],
    ids=["doctor", "study"],
)
def test_who_lacks_the_token_is_told_what_to_set(
    head: Head, command: list[str], change: dict[str, str], said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, *command, "--storage", str(tmp_path)],
        env={**head.env, "RAY_ADDRESS": f"127.0.0.1:{head.port}", **change},
        capture_output=True,
        text=True,
        timeout=300,
    )
    told = done.stdout + done.stderr
    assert done.returncode in (1, 2), told
    assert said in told
    assert "set RAY_AUTH_MODE=token, and put the cluster's token into RAY_AUTH_TOKEN" in told
    assert "Traceback" not in told


@pytest.mark.long
def test_read_stopped_and_gone_on_with(head: Head, moto_s3: str) -> None:
    """By Ray's own commands; raykd comes from the working directory, as where none is installed."""
    package = ["python", "-c", "import raykd; print(raykd.__file__)"]
    where = head.submit("submit", "--working-dir", ".", "--", *package)
    assert "runtime_resources/working_dir_files" in where.stdout, where.stdout + where.stderr

    study = ["--working-dir", ".", "--", "python", "tests/study/long.py", "--storage", moto_s3]
    begun = head.submit("submit", "--no-wait", "--submission-id", "first", *study)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    wait_for(lambda: reports(moto_s3, "long") >= 1)
    assert "teacher ready" in head.submit("logs", "first").stdout
    stopped = head.submit("stop", "first")
    assert "was stopped" in stopped.stdout + stopped.stderr
    assert reports(moto_s3, "long") < 3, "it was stopped too late"

    again = head.submit("submit", *study)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "teacher  epoch" not in again.stdout
    assert reports(moto_s3, "long") == 3
