"""Ray Tune callbacks: hand out the next cohort, and pass on the results that Tune reports."""

from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from raykd.experiments.plan import CohortPlan

NextPlan = Callable[[], CohortPlan | None]
Finished = Callable[[], bool]
OnReport = Callable[[CohortPlan, dict[str, Any]], None]
OnError = Callable[[CohortPlan, str], None]


class TuneCallbacks(tune.Callback):
    """Passes reports and errors of Tune's trials, which are cohorts, to two functions.

    Tune pickles the callbacks with its own state. A pickled copy has no functions and is never
    called, since raykd restores a study from the store.

    Args:
        on_report: Called with a cohort and its report after an epoch.
        on_error: Called with a cohort that failed more often than `max_failures` allows, and the
            reason.
    """

    def __init__(self, on_report: OnReport | None = None, on_error: OnError | None = None) -> None:
        self._on_report, self._on_error = on_report, on_error

    def __reduce__(self) -> tuple[type["TuneCallbacks"], tuple[()]]:
        return TuneCallbacks, ()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Passes on a report."""
        assert self._on_report is not None
        self._on_report(trial.config["plan"], result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Passes on the last line of the trial's last error."""
        assert self._on_error is not None
        why = str(trial.get_pickled_error() or trial.get_error() or "unknown")
        self._on_error(trial.config["plan"], why.strip().splitlines()[-1][:300])


class CohortSearcher(Searcher):
    """Gives Tune the next cohort as if it were a suggested trial.

    Args:
        next_plan: Returns the next cohort, or None if there is none at the moment.
        finished: Returns True if there will be no more cohorts.
    """

    def __init__(self, next_plan: NextPlan | None = None, finished: Finished | None = None) -> None:
        super().__init__()
        self._next_plan, self._finished = next_plan, finished

    def __reduce__(self) -> tuple[type["CohortSearcher"], tuple[()]]:
        return CohortSearcher, ()

    def suggest(self, trial_id: str) -> Any:
        """Returns the next cohort, None to be asked again, or FINISHED if there are no more."""
        assert self._next_plan is not None
        assert self._finished is not None
        plan = self._next_plan()
        if plan is not None:
            return {"plan": plan}
        return self.FINISHED if self._finished() else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """No-op. The reports of the cohort have recorded its results already."""

    def save(self, checkpoint_path: str) -> None:
        """No-op. Tune calls this to save a searcher's state, which raykd keeps in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """No-op. raykd restores a search from the store."""
