"""How long an epoch takes, and how much of it the data."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from raykd.data import Batch
from raykd.train import workers


@dataclass
class Clock:
    """Wall time of an epoch and how much of it went by waiting for data."""

    start: float = 0.0
    waited: float = 0.0
    samples: int = 0

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yields the batches and keeps account."""
        self.start = asked = time.perf_counter()
        for batch in batches:
            self.waited += time.perf_counter() - asked
            self.samples += len(batch.target)
            yield batch
            asked = time.perf_counter()

    def metrics(self, students: int) -> dict[str, float]:
        """The epoch's times; called when the device has done its work."""
        seconds = time.perf_counter() - self.start
        return {
            "seconds": seconds,
            "share_seconds": seconds / students,
            "data_wait_seconds": self.waited,
            "images_per_second": self.samples * workers.world() / seconds,
        }
