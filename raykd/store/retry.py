"""Repeats requests to a storage that fails at the moment."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from raykd.store.errors import UnavailableError
from raykd.store.local import LocalFiles
from raykd.store.s3 import Bucket

T = TypeVar("T")


RETRY_SECONDS = 900.0
"""Seconds that a worker waits for a failing storage; then Ray restarts its cohort elsewhere."""


def retry_until_available(
    ask: Callable[[], T],
    seconds: float = math.inf,
    say: Callable[[str], None] | None = None,
    what: str = "the store",
) -> T:
    """Repeats a request until the storage serves it, and returns the answer.

    A request may fail until the network is back, credentials are renewed or the disk has space.
    The pause between two tries grows from 1 s to 10 s.

    Args:
        ask: Function that makes the request; it may be called any number of times.
        seconds: Seconds after the first failure until the request fails for good.
        say: Callback that receives one sentence when a wait begins, with its reason, and one when
            the wait is over.
        what: Name of the storage in the messages.

    Raises:
        UnavailableError: The storage still fails after `seconds`.
    """
    pause, given_up, told = 1.0, math.inf, ""
    while True:
        try:
            answer = ask()
        except UnavailableError as error:
            given_up = min(given_up, time.monotonic() + seconds)
            if time.monotonic() >= given_up:
                raise
            if say and str(error) != told:
                told = str(error)
                say(f"waiting for {what}, nothing is lost: {told}")
            time.sleep(pause)
            pause = min(2 * pause, 10.0)
        else:
            if say and told:
                say(f"{what} answers again")
            return answer


class RetryingObjects:
    """Wraps a storage so that each failing request is repeated by `retry_until_available`.

    Args:
        objects: Storage that serves the requests.
        seconds: Seconds after the first failure of a request until the request fails for good.
        say: Callback that receives one sentence when a wait begins and one when it is over.
        what: Name of the storage in the messages.
    """

    def __init__(
        self,
        objects: "LocalFiles | Bucket | RetryingObjects",
        seconds: float,
        say: Callable[[str], None],
        what: str,
    ) -> None:
        self._objects, self._told = objects, (seconds, say, what)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._objects, name)
        if not callable(found):
            return found
        return lambda *args, **options: retry_until_available(
            partial(found, *args, **options), *self._told
        )
