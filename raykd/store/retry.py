"""Waiting for a storage that does not answer as it should now."""

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
"""How long a worker waits for a storage that fails; then Ray starts the cohort again elsewhere."""


def retry_until_available(
    ask: Callable[[], T],
    seconds: float = math.inf,
    say: Callable[[str], None] | None = None,
    what: str = "the store",
) -> T:
    """Asks until the storage serves it: the network is back, keys are renewed, the disk has room.

    Args:
        ask: May be called any number of times.
        seconds: How long, counted from the first failure.
        say: Is told why it waits, and when that is over.
        what: What is waited for, in the messages.

    Raises:
        UnavailableError: It took too long.
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
    """Objects whose every request is repeated for so many seconds before it fails."""

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
