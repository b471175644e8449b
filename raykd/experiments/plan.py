"""Plans: the trials of a cohort and their hyperparameters, before anything is trained."""

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["search", "first", "reference", "teacher"]
"""Role of a trial in its study; see `TrialPlan`. The record of the teacher has `teacher`."""


@dataclass(frozen=True)
class TrialPlan:
    """The plan of a trial.

    Attributes:
        trial: Name of the trial in the study: its number if it is searched, or the name of its
            method for a reference.
        role: `search` if Optuna suggested the hyperparameters, `first` if the user gave them, and
            `reference` for a method that is not searched.
        method: Name of the method.
        config: Hyperparameters that the trial sets; all others have their defaults.
        number: Number of the trial in the Optuna study; None for a reference.
    """

    trial: str
    role: Role
    method: str
    config: dict[str, Any] = field(default_factory=dict)
    number: int | None = None


@dataclass(frozen=True)
class CohortPlan:
    """The plan of a cohort: trials that are trained side by side.

    Attributes:
        cohort: Name of the cohort: `c` and its number, with the suffix `-s<replicate>` for a
            replicate.
        trials: Plans of its trials.
        replicate: Number of the replicate; 0 for the original. It is added to the study's seed for
            the initial weights, and changes the order and the augmentation of the data.
    """

    cohort: str
    trials: tuple[TrialPlan, ...]
    replicate: int = 0

    def replicated(self, replicate: int) -> "CohortPlan":
        """Returns the plan of a replicate: the same trials with another seed, under other names."""
        if replicate == 0:
            return self
        suffix = f"-s{replicate}"
        trials = (
            TrialPlan(t.trial + suffix, t.role, t.method, t.config, t.number) for t in self.trials
        )
        return CohortPlan(self.cohort + suffix, tuple(trials), replicate)
