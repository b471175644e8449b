"""What SIGTERM becomes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from ray._private import services

from raykd.runtime.signals import Terminated, own_process_groups, terminated_as_interrupted


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Sets Python's handler of SIGINT, which processes that a shell starts with `&` ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def kill(by: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), by)
    time.sleep(5)
    raise AssertionError("nothing came")


def test_sigterm_ends_what_runs_and_the_handler_before_is_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminated_as_interrupted():
        kill()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_sigterm_does_not_break_in_upon_the_tidying_up() -> None:
    tidied = False

    def stopped() -> None:
        nonlocal tidied
        try:
            kill()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
            tidied = True

    with pytest.raises(Terminated), terminated_as_interrupted():
        stopped()
    assert tidied


def fails() -> None:
    raise RuntimeError("DataLoader worker is killed by signal: Terminated.")


def leaves() -> None:
    sys.exit(signal.SIGTERM)


@pytest.mark.parametrize("then", [fails, leaves])
def test_what_sigterm_does_to_others_is_no_error(then: Callable[[], None]) -> None:
    def stopped() -> None:
        try:
            kill()
        except KeyboardInterrupt:
            then()

    with pytest.raises(Terminated), terminated_as_interrupted():
        stopped()


def test_ctrl_c_and_errors_stay_what_they_are() -> None:
    with pytest.raises(KeyboardInterrupt) as told, terminated_as_interrupted():
        kill(signal.SIGINT)
    assert not isinstance(told.value, Terminated)
    with pytest.raises(RuntimeError), terminated_as_interrupted():
        fails()


def test_processes_of_ray_do_not_share_the_drivers_group() -> None:
    with own_process_groups():
        started = services.ConsolePopen(["sleep", "30"], stdout=subprocess.DEVNULL)
    try:
        assert os.getpgid(started.pid) == started.pid != os.getpgrp()
    finally:
        started.kill()
        started.wait()
