"""The command that a study is gone on with by."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from raykd.study.provenance import command

OPTIONS = ["--data", "my photos [v2]", "--name", "it's $HOME"]


@pytest.fixture(autouse=True)
def _started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("RAYKD_", "RAY_ADDRESS", "RAY_JOB")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "orig_argv", [".venv/bin/python", "-m", "mine.study", *OPTIONS])


def test_the_interpreter_is_named_and_arguments_are_quoted() -> None:
    assert command().startswith(".venv/bin/python -m mine.study --data 'my photos [v2]' --name")
    assert shlex.split(command()) == sys.orig_argv


def test_settings_of_the_environment_come_first_and_secrets_stay_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"RAYKD_STORAGE": "my results", "RAYKD_TRIALS": "3", "RAY_ADDRESS": "local"}
    others = {"RAYKD_NODE_TYPES": "{}", "AWS_SECRET_ACCESS_KEY": "hidden"}
    for name, value in (settings | others).items():
        monkeypatch.setenv(name, value)
    given = [f"{name}={value}" for name, value in settings.items()]
    assert shlex.split(command()) == ["env", *given, *sys.orig_argv]


def test_a_job_is_submitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # Ray sets it in the job
    monkeypatch.setenv("RAYKD_STORAGE", "s3://bucket/raykd")
    submit = ["ray", "job", "submit", "--working-dir", ".", "--"]
    settings = ["env", "RAYKD_STORAGE=s3://bucket/raykd"]
    assert shlex.split(command()) == [*submit, *settings, *sys.orig_argv]


@pytest.mark.slow
def test_pasted_into_a_shell_it_starts_the_same_again(tmp_path: Path) -> None:
    script = tmp_path / "my study.py"
    lines = ("from raykd.study.provenance import command", "print(command())")
    script.write_text("\n".join([f"#!{sys.executable}", *lines]))
    script.chmod(0o755)
    first, again = "", shlex.join(["./my study.py", *OPTIONS])
    for environment in ({**os.environ, "RAYKD_NAME": "a b"}, os.environ):
        first, again = (
            again,
            subprocess.run(
                again, cwd=tmp_path, env=environment, shell=True, capture_output=True, text=True
            ).stdout.strip(),
        )
    assert first == again
    assert shlex.split(again)[:2] == ["env", "RAYKD_NAME=a b"]
