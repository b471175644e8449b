"""Handling of SIGTERM: it ends a study as Ctrl-C does, also if the whole process group gets it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray._private import services


class Interrupted(KeyboardInterrupt):
    """Raised when a study is stopped before its end; everything finished is stored."""


class Terminated(Interrupted):
    """Raised when a study is stopped by SIGTERM."""


@contextmanager
def terminated_as_interrupted() -> Iterator[Callable[[], None]]:
    """Turns the first SIGTERM into SIGINT, and the interruption that follows into `Terminated`.

    `ray job stop`, `timeout` and batch systems send SIGTERM, some of them more than once. Signals
    after the first are ignored, so that they do not interrupt the clean-up. Outside of the main
    thread this does nothing, since only that thread can set handlers.

    Yields:
        A function that sets the handler of SIGTERM again. Call it after `ray.init`, which sets a
        handler of its own.
    """
    if threading.current_thread() is not threading.main_thread():
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

    def set_handler() -> None:
        signal.signal(signal.SIGTERM, stop)

    before = signal.getsignal(signal.SIGTERM)
    set_handler()
    try:
        yield set_handler
    except (KeyboardInterrupt, RuntimeError) as error:  # torch's, if SIGTERM ended its decoders
        if terminated:
            raise Terminated from error
        raise
    except SystemExit as error:  # raised by the handler that Ray has while it starts
        if error.code == signal.SIGTERM:
            raise Terminated from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def own_process_groups() -> Iterator[None]:
    """Starts Ray's processes in process groups of their own while the `with` block runs.

    Otherwise a signal to the driver's group, from `timeout` or a terminal, would end Ray's servers
    as well. A driver that is about to use them would wait for a minute and abort. Ray has no option
    for this.
    """
    module: Any = services
    before = module.ConsolePopen
    module.ConsolePopen = partial(before, process_group=0)
    try:
        yield
    finally:
        module.ConsolePopen = before
