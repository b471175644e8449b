"""Queries the stored trials and metrics of a study."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raykd.printable import printable
from raykd.store.errors import (
    DamagedObjectError,
    MissingObjectError,
    StoreError,
    StoreWarning,
    UnavailableError,
)
from raykd.store.folder import Folder
from raykd.store.log import Log, read_log
from raykd.store.metrics import latest, long_table, wide_table
from raykd.store.snapshot import load_part
from raykd.store.spec import load_spec, objective
from raykd.store.trials import Trial, Trials, to_trial

if TYPE_CHECKING:
    import optuna

_RANKED = ("search", "first")  # roles that are ranked; references are only for comparison


class Study:
    """The trials and metrics of a stored study, as of the first query or the last `refresh`.

    Trials are compared by their last epoch. Damaged and foreign objects are skipped; each causes a
    `StoreWarning` and is listed in `warnings`.

    Args:
        folder: Folder of the study.
        name: Name of the study.
        log: Log of the study, if it has been read already.

    Raises:
        StoreError: There is no study in the folder.
    """

    def __init__(self, folder: Folder, name: str, log: Log | None = None) -> None:
        spec = load_spec(folder)
        if spec is None:
            raise StoreError(f"there is no study in {folder.uri}")
        self.name, self.spec, self.folder = name, spec, folder
        self.warnings: list[str] = []
        self._log: Log | None = None
        self._table: pa.Table | None = None
        self._metrics: pa.Table | None = None
        if log is not None:
            self._take(log)

    def __repr__(self) -> str:
        return f"Study({self.name!r} in {self.folder.uri})"

    def refresh(self) -> None:
        """Reads new objects; objects that were read before are not read again.

        Raises:
            UnavailableError: An object that must exist was not found.
        """
        log = read_log(self.folder, self._log)
        if log.lacking and not log.warnings:  # otherwise a warning already names the damage
            raise UnavailableError(log.lacking)
        self._take(log)

    def _take(self, log: Log) -> None:
        self._log = log
        self.warnings = []
        self._metrics = None
        for warning in log.warnings:
            self._warn(warning)
        trials = Trials(log.base, *objective(self.spec))
        trials.apply(log.records())
        table = trials.table()
        begun = pc.is_valid(table["number"])
        for trial in table.filter(pc.invert(begun))["trial"].to_pylist():
            self._warn(f"{self.folder.uri}: the beginning of trial {trial} is lost; skipped")
        table = table.filter(begun)
        names = [f"last_{metric}" for metric in self.spec["metric"]]
        for name in names:  # an objective without any report yet is a column of nulls
            if name not in table.column_names and name not in ("last_params",):
                table = table.append_column(name, pa.nulls(len(table), pa.float64()))
        self._table = table

    def trials(self) -> pa.Table:
        """Returns a table with one row per trial, in the order of the trials' numbers.

        The columns are `trial, number, cohort, role, method, seed, time, state, reason,
        checkpoint, params, epoch, best_epoch`, then `config_<name>`, `last_<metric>` (after the
        last epoch), `best_<metric>` (after the epoch where the first objective was best) and
        `cost_<name>`. A value that a trial lacks is null.
        """
        return self._trials().drop_columns(["config"])

    def all_trials(self) -> list[Trial]:
        """Returns all trials in the order of `trials()`, including teacher and references."""
        return [to_trial(row) for row in self._trials().to_pylist()]

    def trial(self, id: str) -> Trial:
        """Returns the trial with this name.

        Raises:
            StoreError: There is no trial of this name.
        """
        table = self._trials()
        rows = table.filter(pc.field("trial") == id).to_pylist()
        if not rows:
            names = table["trial"].to_pylist()
            known = f"{names[0]} to {names[-1]}" if names else "none yet"
            raise StoreError(f"there is no trial {id!r} in study {self.name!r}; there are: {known}")
        return to_trial(rows[0])

    def best(
        self,
        k: int = 1,
        *,
        metric: str | None = None,
        mode: str | None = None,
        where: pc.Expression | None = None,
        roles: Sequence[str] = _RANKED,
    ) -> list[Trial]:
        """Returns the `k` best complete trials by their last epoch, best first.

        In a study with several `seeds` each replicate is a trial of its own here, whereas
        `raykd best` and the HTML page rank settings by the mean over their replicates.

        Args:
            k: Maximum number of trials; of equal trials the one with the lower number comes first.
            metric: A metric, `params` or `cost_<name>`; by default the study's first objective.
            mode: `"max"` or `"min"`; by default the study's mode, if the metric is an objective.
            where: Condition on the columns of `trials()`, like `pc.field("config_alpha") > 1.2`.
            roles: Roles of the trials to rank: `search`, `first` (given settings, such as the
                paper's) or `reference`.
        """
        metric = metric or str(self.spec["metric"][0])
        column, order = self._column(metric), self._order(metric, mode)
        table = self._competing(where, roles)
        table = table.filter(pc.is_finite(pc.field(column)))
        keys = [(column, order), ("number", "ascending")]
        chosen = pc.select_k_unstable(table, k=min(k, len(table)), sort_keys=keys)
        return [to_trial(row) for row in table.take(chosen).to_pylist()]

    def pareto(
        self,
        objectives: dict[str, str],
        *,
        where: pc.Expression | None = None,
        roles: Sequence[str] = _RANKED,
    ) -> list[Trial]:
        """Returns the Pareto front: the complete trials that no other trial dominates.

        The trials are ordered by the first objective, best first; equal trials are all kept.

        Args:
            objectives: `"max"` or `"min"` by metric, `params` or `cost_<name>`.
            where: Condition on the columns of `trials()`, as for `best`.
            roles: Roles of the trials to compare, as for `best`.
        """
        if not objectives:
            raise StoreError("pareto needs objectives, as {'val_top1': 'max', 'params': 'min'}")
        signs = [-1.0 if self._order(m, o) == "descending" else 1.0 for m, o in objectives.items()]
        columns = [self._column(metric) for metric in objectives]
        table = self._competing(where, roles)
        values = [table[column].cast(pa.float64(), safe=False).to_numpy() for column in columns]
        points = np.stack(values, axis=1) * signs  # smaller is better from here on
        front: list[int] = []
        for i in np.lexsort(points.T[::-1]):
            if np.isfinite(points[i]).all():
                others = points[front]
                beaten = (others <= points[i]).all(1) & (others < points[i]).any(1)
                if not beaten.any():
                    front.append(int(i))
        return [to_trial(row) for row in table.take(pa.array(front, pa.int64())).to_pylist()]

    def curve(self, trial: Trial | str) -> pa.Table:
        """Returns one trial's metrics: one row per epoch, one column per metric."""
        id = trial.id if isinstance(trial, Trial) else self.trial(trial).id
        return wide_table(self._long(id))

    def metrics(self) -> pa.Table:
        """Returns all metrics in long form: `trial, epoch, name, value`."""
        if self._metrics is None:
            self._metrics = self._long(None)
        return self._metrics

    def to_optuna(self) -> "optuna.Study":
        """Returns the searched trials as an in-memory Optuna study, for plots and importances.

        References are left out, because they have no hyperparameters of the search space.
        """
        from raykd.store.to_optuna import to_optuna

        return to_optuna(self.name, self.spec, self._trials(), self.metrics())

    def _trials(self) -> pa.Table:
        if self._table is None:
            self.refresh()
        return self._table

    def _long(self, trial: str | None) -> pa.Table:
        """Returns the metrics of one trial, or of all trials, in long form."""
        self._trials()
        assert self._log is not None
        parts = self._log.snapshot.metrics if self._log.snapshot else ()
        tables = []
        for part in parts:
            if trial is None or part.first <= trial <= part.last:
                try:
                    tables.append(load_part(self.folder, part))
                except (DamagedObjectError, MissingObjectError) as error:
                    self._warn(f"{self.folder.uri}/{part.path} is damaged ({error}); skipped")
        tables.append(long_table(self._log.records()))
        if trial is not None:
            tables = [table.filter(pc.field("trial") == trial) for table in tables]
        return latest(tables)

    def _competing(self, where: pc.Expression | None, roles: Sequence[str]) -> pa.Table:
        """Returns the complete trials that have one of the roles and meet the condition."""
        table = self._trials()
        condition = (pc.field("state") == "COMPLETE") & pc.field("role").isin(list(roles))
        try:
            return table.filter(condition if where is None else condition & where)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            names = ", ".join(name for name in table.column_names if name != "config")
            raise StoreError(f"cannot apply {where}: {error}; the columns are: {names}") from error

    def _column(self, metric: str) -> str:
        """Returns the column that holds a metric's value after the last epoch."""
        names = self._trials().column_names
        if f"last_{metric}" in names:
            return f"last_{metric}"
        if metric == "params" or (metric.startswith("cost_") and metric in names):
            return metric
        known = [name.removeprefix("last_") for name in names if name.startswith("last_")]
        known += ["params", *(name for name in names if name.startswith("cost_"))]
        raise StoreError(f"no trial has a metric {metric!r}; known: {', '.join(known)}")

    def _order(self, metric: str, mode: str | None) -> str:
        """Returns Arrow's sort order for a mode: "descending" or "ascending"."""
        modes: dict[str, Any] = dict(zip(self.spec["metric"], self.spec["mode"], strict=True))
        mode = mode or modes.get(metric)
        if mode not in ("max", "min"):
            raise StoreError(f"mode of {metric!r} is {mode!r}; give 'max' or 'min'")
        return "descending" if mode == "max" else "ascending"

    def _warn(self, text: str) -> None:
        text = printable(text)
        if text not in self.warnings:
            self.warnings.append(text)
            warnings.warn(text, StoreWarning, stacklevel=3)
