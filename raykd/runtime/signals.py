"""SIGTERM ends a study as Ctrl-C does, also where it comes to the whole process group."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray._private import services


class Interrupted(KeyboardInterrupt):
    """The study was stopped before its end; everything finished is stored."""


class Terminated(Interrupted):
    """It was stopped by SIGTERM."""


@contextmanager
def terminated_as_interrupted() -> Iterator[Callable[[], None]]:
    """Turns the first SIGTERM into SIGINT, and the interruption that follows into `Terminated`.

    `ray job stop`, `timeout` and batch systems send SIGTERM, some of them more than once: what
    comes after the first is ignored, so that nothing breaks in upon the tidying up.

    Yields:
        A function that listens for SIGTERM again; to be called after `ray.init`, which sets a
        handler of its own.
    """
    if threading.current_thread() is not threading.main_thread():  # others can't
        yield lambda: None
        return
    terminated = False

    def stop(*_: object) -> None:
        nonlocal terminated
        if terminated:
            return
        terminated = True
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background jobs
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGINT)

    def listen() -> None:
        signal.signal(signal.SIGTERM, stop)

    before = signal.getsignal(signal.SIGTERM)
    listen()
    try:
        yield listen
    except (KeyboardInterrupt, RuntimeError) as error:  # torch's, whose decoders SIGTERM has ended
        if terminated:
            raise Terminated from error
        raise
    except SystemExit as error:  # by the handler that Ray has while it starts
        if error.code == signal.SIGTERM:
            raise Terminated from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def own_process_groups() -> Iterator[None]:
    """Lets the processes that Ray starts meanwhile have process groups of their own.

    A signal to the group of the driver, from `timeout` or a terminal, would otherwise end Ray's
    servers under a driver that is about to use them, and that would then wait for them for a
    minute and abort. Ray has no option for it.
    """
    module: Any = services
    before = module.ConsolePopen
    module.ConsolePopen = partial(before, process_group=0)
    try:
        yield
    finally:
        module.ConsolePopen = before
