"""However a study is stopped, the same command goes on, to the numbers of an unbroken one."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from runs import TINY, finish, numbers, reports, run_here, start, trials, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("unbroken")
    run_here(root)
    return root


def test_whatever_ends_it_the_same_command_goes_on_to_the_same_numbers(
    unbroken: Path, tmp_path: Path
) -> None:
    """One study that SIGTERM, SIGINT and SIGKILL end in turn, and that loses a worker at last.

    `timeout` and batch systems send SIGTERM to the whole process group, and a terminal SIGINT for
    Ctrl-C.
    """
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

    process = start(tmp_path)
    wait_for(lambda: reports(tmp_path) >= 10)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert reports(tmp_path) < reports(unbroken), "it was killed too late"
    done = {trial for trial, row in trials(tmp_path).items() if row[0] != "RUNNING"}
    assert done <= set(trials(unbroken))

    process, before = start(tmp_path), reports(tmp_path)
    wait_for(lambda: reports(tmp_path) > before)
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
    run_here(unbroken, "--trials", "8")
    assert before.items() <= numbers(unbroken).items()
    assert len(trials(unbroken)) == len({*trials(unbroken)}) == 8 + 2  # with teacher and reference


def test_another_space_under_the_same_name_is_refused(
    unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_here(unbroken, "--epochs", "3")
    told = capsys.readouterr()
    assert "name" in told.out + told.err
    assert "Traceback" not in told.out + told.err
