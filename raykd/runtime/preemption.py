"""Preemption: the notice that a node is about to be taken away, as a spot machine is."""

from threading import Event, Thread

import ray
from ray._private.state import state

from raykd.train import workers

POLL_SECONDS = 1.0
STEPS = 16
"""Batches between two exchanges of several workers, which must all stop at the same batch."""


class PreemptionNotice:
    """Watches, while its `with` block runs, whether Ray drains this node.

    Called after each batch, it returns True once for each notice.
    """

    def __init__(self) -> None:
        self._given, self._ended, self._calls = Event(), Event(), 0

    def __enter__(self) -> "PreemptionNotice":
        """Begins to watch."""
        Thread(target=self._watch, name="preemption notice", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the watching."""
        self._ended.set()

    def __call__(self) -> bool:
        """Returns the same to all workers."""
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
        while ray.is_initialized() and not self._ended.wait(POLL_SECONDS):
            deadline = state.get_draining_nodes().get(me)
            if deadline != known:
                known = deadline
                if known is not None:
                    self._given.set()
