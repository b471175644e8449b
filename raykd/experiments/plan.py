"""Plans: which trials a cohort consists of, and with what hyperparameters."""

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["search", "first", "reference", "teacher"]


@dataclass(frozen=True)
class TrialPlan:
    """A trial before it is trained.

    Attributes:
        trial: Its name in the study: its number if it is searched, else its method's name.
        role: `search` was suggested, `first` was given, `reference` is not searched at all.
        method: Name of the method.
        config: The hyperparameters that the trial sets; all others have their defaults.
        number: Position among the trials that Optuna knows; None for a reference.
    """

    trial: str
    role: Role
    method: str
    config: dict[str, Any] = field(default_factory=dict)
    number: int | None = None


@dataclass(frozen=True)
class CohortPlan:
    """A cohort before it is trained.

    Attributes:
        cohort: Its name, `c` and its number; a replicate has the suffix `-s<replicate>`.
        trials: Its trials.
        replicate: Added to the study's seed for the initial weights; the data come in another order
            and in other views.
    """

    cohort: str
    trials: tuple[TrialPlan, ...]
    replicate: int = 0

    def replicated(self, replicate: int) -> "CohortPlan":
        """The same trials with other seeds: a cohort of its own."""
        if replicate == 0:
            return self
        suffix = f"-s{replicate}"
        trials = (
            TrialPlan(s.trial + suffix, s.role, s.method, s.config, s.number) for s in self.trials
        )
        return CohortPlan(self.cohort + suffix, tuple(trials), replicate)
