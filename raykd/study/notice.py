"""The notice that a node is about to be taken away, as a spot machine is."""

import time
from functools import cache
from threading import Event, Thread

import ray
from ray._private.state import state

from raykd.train import workers

POLL_SECONDS = 1.0
STEPS = 16
"""Between two exchanges of several workers: they must stop at the same one."""


class Notice:
    """Whether this node drains; says so once for each notice. Called after each batch."""

    def __init__(self) -> None:
        self._given, self._calls = Event(), 0
        Thread(target=self._watch, name="notice of draining", daemon=True).start()

    def __call__(self) -> bool:
        """Says the same to all workers."""
        self._calls += 1
        if workers.world() == 1:
            given = self._given.is_set()
        elif self._calls % STEPS:
            given = False
        else:
            given = workers.anyone(self._given.is_set())
        if given:
            self._given.clear()
        return given

    def _watch(self) -> None:
        me, known = ray.get_runtime_context().get_node_id(), None
        while ray.is_initialized():
            deadline = state.get_draining_nodes().get(me)
            if deadline != known:
                known = deadline
                if known is not None:
                    self._given.set()
            time.sleep(POLL_SECONDS)


@cache
def notice() -> Notice:
    """The one of this process, which may teach many cohorts."""
    return Notice()
