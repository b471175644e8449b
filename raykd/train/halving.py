"""Successive halving inside a cohort, synchronous because all students are at the same epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Halving:
    """Drops the worst students of a cohort after certain epochs, called rungs.

    A step schedule changes the ranking of students at each decay of the learning rate, so that a
    rung before the last decay says little of the final accuracy. Put the rungs after the last
    decay, or use a smooth schedule.

    Args:
        rungs: Numbers of the epochs, from 1, after which students are dropped.
        keep: Fraction of the students that continues after a rung, in (0, 1); the number is
            rounded up.
    """

    rungs: tuple[int, ...]
    keep: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.keep < 1:
            raise ValueError(f"keep is {self.keep}; it must lie between 0 and 1, such as 0.5")
        if any(rung < 1 for rung in self.rungs) or len(set(self.rungs)) < len(self.rungs):
            raise ValueError(f"rungs are {self.rungs}; they must be different epochs from 1")

    def drop(self, epoch: int, scores: Mapping[str, float]) -> list[str]:
        """Returns the names of the students to drop after `epoch`; empty if it is no rung.

        Args:
            epoch: Number of the epoch that has just ended, from 1.
            scores: Score of each student that may be dropped, by name; higher is better. Of equal
                scores, those that come first in the mapping are kept.
        """
        if epoch not in self.rungs:
            return []
        ranked = sorted(scores, key=lambda name: -scores[name])
        return ranked[math.ceil(len(ranked) * self.keep) :]
