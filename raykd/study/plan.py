"""Which trials a cohort consists of."""

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["search", "first", "reference", "teacher"]


@dataclass(frozen=True)
class Setting:
    """One trial before it is taught.

    Attributes:
        trial: Its name in the study: the number for a searched one, else the method's name.
        role: `search` was suggested, `first` was given, `reference` is not searched at all.
        method: Name of the method.
        config: The values that the trial sets; everything else is the method's own default.
        number: Position among the trials that Optuna knows; references have none.
    """

    trial: str
    role: Role
    method: str
    config: dict[str, Any] = field(default_factory=dict)
    number: int | None = None


@dataclass(frozen=True)
class Plan:
    """A cohort before it is taught.

    Attributes:
        cohort: Its name, `c` and its number; a replicate has the suffix `-s<replicate>`.
        settings: Its trials.
        replicate: Added to the study's seed for the initial weights; the data come in another order
            and in other views.
    """

    cohort: str
    settings: tuple[Setting, ...]
    replicate: int = 0

    def replicated(self, replicate: int) -> "Plan":
        """The same settings with other seeds: a cohort of its own."""
        if replicate == 0:
            return self
        suffix = f"-s{replicate}"
        settings = (
            Setting(s.trial + suffix, s.role, s.method, s.config, s.number) for s in self.settings
        )
        return Plan(self.cohort + suffix, tuple(settings), replicate)
