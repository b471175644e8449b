"""Successive halving inside a cohort: all its students are at the same epoch, so it is exact."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Halving:
    """After each rung the worst students are dropped.

    A step schedule reshuffles the order at each decay of the learning rate, so a rung before the
    last decay ranks by something else than the final accuracy; put the rungs after it, or use a
    smooth schedule.

    Args:
        rungs: Epochs (counted from 1) after which students are dropped.
        keep: Share of the students that goes on after a rung, rounded up; in (0, 1).
    """

    rungs: tuple[int, ...]
    keep: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.keep < 1:
            raise ValueError(f"keep is {self.keep}; it must lie between 0 and 1, such as 0.5")
        if any(rung < 1 for rung in self.rungs) or len(set(self.rungs)) < len(self.rungs):
            raise ValueError(f"rungs are {self.rungs}; they must be different epochs from 1")

    def drop(self, epoch: int, scores: Mapping[str, float]) -> list[str]:
        """Names the students to drop after `epoch`.

        Args:
            epoch: The epoch that has just ended, counted from 1.
            scores: The objective of each student that may be dropped; higher is better. Equal
                scores are kept in the mapping's order.
        """
        if epoch not in self.rungs:
            return []
        ranked = sorted(scores, key=lambda name: -scores[name])
        return ranked[math.ceil(len(ranked) * self.keep) :]
