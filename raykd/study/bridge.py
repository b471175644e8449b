"""Between Tune and the ledger: Tune asks for cohorts here, and tells here what came of them."""

from typing import Any

from ray import tune
from ray.tune.search import Searcher

from raykd.study.ledger import Ledger
from raykd.study.progress import Display
from raykd.train.loop import Row


class Bridge(tune.Callback):
    """Carries what Tune reports to the ledger. Tune pickles it; nothing of it is worth keeping."""

    def __init__(self, ledger: Ledger | None = None, display: Display | None = None) -> None:
        self.ledger, self.display = ledger, display
        self.searcher = CohortSearcher(ledger)

    def __reduce__(self) -> tuple[type["Bridge"], tuple[()]]:
        return Bridge, ()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Writes an epoch down and shows it, or why a cohort can't go on."""
        assert self.ledger is not None
        assert self.display is not None
        if "lost" in result:
            self.ledger.give_up(trial.config["plan"], result["lost"])
            return
        rows = [Row(**row) for row in result["rows"]]
        new = self.ledger.rows(trial.config["plan"], rows)
        self.display.rows(trial.config["plan"], rows, len(new))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A cohort failed by its machines more often than is forgiven."""
        assert self.ledger is not None
        why = (trial.get_pickled_error() or trial.get_error() or "unknown").__str__()
        self.ledger.give_up(trial.config["plan"], why.strip().splitlines()[-1][:300])


class CohortSearcher(Searcher):
    """Hands the ledger's cohorts to Tune. Tune's own state of it is empty: the store has it all."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        super().__init__()
        self.ledger = ledger

    def __reduce__(self) -> tuple[type["CohortSearcher"], tuple[()]]:
        return CohortSearcher, ()

    def suggest(self, trial_id: str) -> Any:
        """The next cohort; None to be asked again, FINISHED when there is no more."""
        assert self.ledger is not None
        plan = self.ledger.take()
        if plan is not None:
            return {"plan": plan}
        return self.FINISHED if self.ledger.finished() else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the ledger knows already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store has it."""
