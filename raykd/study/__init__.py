"""Studies: the one place that knows Ray and Optuna."""

from raykd.study.study import Study

__all__ = ["Study"]
