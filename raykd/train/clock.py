"""Timing of an epoch: its wall time, its throughput and the time spent waiting for data."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from raykd.data import Batch
from raykd.train import workers


@dataclass
class Clock:
    """Measures the wall time of an epoch and how much of it was spent waiting for data.

    Attributes:
        start: Value of `time.perf_counter` when the epoch began, in seconds.
        waited: Seconds spent waiting for batches.
        samples: Number of samples that this worker has received.
    """

    start: float = 0.0
    waited: float = 0.0
    samples: int = 0

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yields the batches unchanged, and measures the wait for each and counts its samples."""
        self.start = asked = time.perf_counter()
        for batch in batches:
            self.waited += time.perf_counter() - asked
            self.samples += len(batch.target)
            yield batch
            asked = time.perf_counter()

    def metrics(self, students: int) -> dict[str, float]:
        """Returns the epoch's times in seconds, and its throughput in images per second.

        Call it after the device has finished its work: a GPU's kernels run asynchronously.

        Args:
            students: Number of students among which the epoch's time is divided evenly.
        """
        seconds = time.perf_counter() - self.start
        return {
            "seconds": seconds,
            "share_seconds": seconds / students,
            "data_wait_seconds": self.waited,
            "images_per_second": self.samples * workers.world() / seconds,
        }
