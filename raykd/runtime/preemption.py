"""Notices of preemption: that a node, such as a spot instance, is about to be taken away."""

from threading import Event, Thread

import ray
from ray._private.state import state

from raykd.train import workers

POLL_SECONDS = 1.0
"""Seconds between two requests for Ray's list of draining nodes."""
STEPS = 16
"""Number of batches between two exchanges of notices among several workers.

They exchange notices because all of them must stop at the same batch.
"""


class PreemptionNotice:
    """Watches, while its `with` block runs, for Ray draining this node.

    It is called after each batch and returns True once for each notice. With several workers it
    returns True to all of them if the node of any is drained.
    """

    def __init__(self) -> None:
        self._given, self._ended, self._calls = Event(), Event(), 0

    def __enter__(self) -> "PreemptionNotice":
        """Starts watching, in a thread."""
        Thread(target=self._watch, name="preemption notice", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends watching."""
        self._ended.set()

    def __call__(self) -> bool:
        """Returns True once for each notice, and the same value in all workers."""
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
