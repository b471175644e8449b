"""Every command of the cluster files resolves, and the scripts do what the files rely on."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
FILES = ("aws.yaml", "gcp.yaml", "on_premise.yaml")
COMMANDS = [
    (name, command)
    for name in FILES
    for key, commands in yaml.safe_load((CLUSTER / name).read_text()).items()
    if key.endswith("_commands")
    for command in commands
]


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_command_parses_and_its_files_are_mounted(name, command):
    subprocess.run(["bash", "-n", "-c", command], check=True)
    mounts = yaml.safe_load((CLUSTER / name).read_text())["file_mounts"]
    for remote in re.findall(r"~/raykd/[\w/]*\.\w+", command):
        source = next(
            (
                ROOT / local / remote.removeprefix(mount).lstrip("/")
                for mount, local in mounts.items()
                if remote.startswith(mount)
            ),
            None,
        )
        assert source, f"{remote} is in no file mount"
        assert source.is_file(), f"{source} does not exist"


@pytest.mark.parametrize("name", FILES)
def test_what_is_mounted_from_the_repository_exists(name):
    mounts = yaml.safe_load((CLUSTER / name).read_text())["file_mounts"]
    local = {path for path in mounts.values() if not path.startswith("~")}
    assert local == {"cluster", "requirements.txt"}
    assert all((ROOT / path).exists() for path in local)


def test_what_the_image_copies_exists():
    lines = (CLUSTER / "Dockerfile").read_text().splitlines()
    copied = [
        source
        for line in lines
        if line.startswith("COPY")
        for source in shlex.split(line)[2:-1]  # COPY --chown=ray SOURCE… TARGET
    ]
    assert set(copied) >= {"requirements.txt", "pyproject.toml", "raykd", "studies"}
    assert all((ROOT / source).exists() for source in copied)


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A made-up machine whose `ray` and `pip` write down how they were called."""
    bin_folder = tmp_path / "raykd/venv/bin"
    bin_folder.mkdir(parents=True)
    log = tmp_path / "calls"
    for program in ("ray", "pip"):
        path = bin_folder / program
        path.write_text(
            f'#!/bin/bash\nprintf "%s\\n" "$RAY_AUTH_MODE" {program} "$@" "" >> {log}\n'
        )
        path.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_HEAD_IP", "10.0.0.1")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    (tmp_path / "raykd/cluster").symlink_to(CLUSTER)

    def run(command):
        done = subprocess.run(
            ["bash", "-c", command], env=os.environ, capture_output=True, text=True, cwd=tmp_path
        )
        calls = log.read_text().split("\n\n") if log.exists() else []
        return done, [call.split("\n") for call in calls if call]

    return run


def token(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("made-up")


def test_the_head_starts_with_token_and_driver_and_no_cpu(node, tmp_path, aws):
    token(tmp_path)
    done, calls = node(aws["head_start_ray_commands"][0])
    assert done.returncode == 0, done.stderr
    stop, start = calls
    assert stop == ["token", "ray", "stop"]
    assert start[:4] == ["token", "ray", "start", "--head"]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    assert {"--port=6379", "--num-cpus=0", "--num-gpus=0"} <= set(start)
    resources = next(flag for flag in start if flag.startswith("--resources="))
    assert json.loads(resources.removeprefix("--resources=")) == {"driver": 1}


def test_a_worker_joins_the_head_and_offers_what_it_has(node, tmp_path, aws):
    token(tmp_path)
    done, calls = node(aws["worker_start_ray_commands"][0])
    assert done.returncode == 0, done.stderr
    assert calls[1] == ["token", "ray", "start", "--address=10.0.0.1:6379"]


def test_nothing_starts_without_a_token(node, aws):
    done, calls = node(aws["head_start_ray_commands"][0])
    assert done.returncode != 0
    assert "ray get-auth-token --generate" in done.stderr
    assert calls == []


def test_setup_installs_what_is_pinned_and_nothing_else(node, aws):
    done, calls = node(aws["setup_commands"][0])
    assert done.returncode == 0, done.stderr
    (call,) = calls
    assert call[1:3] == ["pip", "install"]
    assert {"--no-deps", "--require-hashes"} <= set(call)
    assert Path(call[-1]).resolve().name == "requirements.txt"
    others = {argument for argument in call[3:-1] if not argument.startswith("-")}
    assert others == set()


def test_ray_up_recognises_the_start_command(aws):
    from ray.autoscaler._private.commands import warn_about_bad_start_command

    # It warns, and people stop there, unless it reads both in the text of a command.
    assert any(
        "ray start" in c and "autoscaling-config" in c for c in aws["head_start_ray_commands"]
    )
    warn_about_bad_start_command(aws["head_start_ray_commands"])


def test_the_readme_names_files_that_exist():
    text = (CLUSTER / "README.md").read_text()
    named = set(re.findall(r"\bcluster/[\w.]+\w", text))
    assert named >= {"cluster/aws.yaml", "cluster/gcp.yaml", "cluster/kuberay.yaml"}
    assert all((ROOT / name).exists() for name in named), named
