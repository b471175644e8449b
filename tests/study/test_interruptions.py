"""However a study is stopped, the same command goes on, to the numbers of an unbroken one."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from runs import TINY, finish, numbers, reports, start, trials, undisturbed, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("unbroken"))


def test_signals_to_the_whole_group_stop_cleanly_and_say_how_to_go_on(
    unbroken: Path, tmp_path: Path
) -> None:
    """As `timeout` and batch systems send SIGTERM, and a terminal SIGINT for Ctrl-C."""
    for sent, code, epochs in ((signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 6)):
        process = start(tmp_path)
        wait_for(lambda least=epochs: reports(tmp_path) >= least)
        os.killpg(process.pid, sent)
        output = finish(process)
        assert process.returncode == code, output
        assert (
            f"{sys.executable} {TINY} --storage {tmp_path} --no-report\n"
            in output.partition("go on: ")[2]
        )
        assert "Traceback" not in output
    again = start(tmp_path)
    output = finish(again)
    assert again.returncode == 0, output
    assert trials(tmp_path) == trials(unbroken)
    assert numbers(tmp_path) == numbers(unbroken)


def test_driver_killed(unbroken: Path, tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for(lambda: reports(tmp_path) >= 6)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {trial for trial, row in trials(tmp_path).items() if row[0] != "RUNNING"}
    output = finish(start(tmp_path))
    assert numbers(tmp_path) == numbers(unbroken), output
    assert trials(tmp_path) == trials(unbroken)
    assert done <= set(trials(tmp_path))


def test_worker_killed(unbroken: Path, tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for(lambda: reports(tmp_path) >= 2)
    family = psutil.Process(process.pid).children(recursive=True)
    workers = [p for p in family if "ray::" in " ".join(p.cmdline()) and "Func" in p.cmdline()[0]]
    assert workers
    workers[0].kill()
    output = finish(process)
    assert process.returncode == 0, output
    assert trials(tmp_path) == trials(unbroken)
    assert numbers(tmp_path) == numbers(unbroken)


def test_more_trials_extend_a_finished_study(unbroken: Path) -> None:
    before = numbers(unbroken)
    output = finish(start(unbroken, "--trials", "8"))
    after = numbers(unbroken)
    assert before.items() <= after.items(), output
    assert len(trials(unbroken)) == len({*trials(unbroken)}) == 8 + 2  # with teacher and reference


def test_another_space_under_the_same_name_is_refused(unbroken: Path) -> None:
    process = start(unbroken, "--epochs", "3")
    output = finish(process)
    assert process.returncode == 2
    assert "name" in output
    assert "Traceback" not in output
