"""Optuna's samplers by name, seeded separately for each cohort."""

import warnings

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

SAMPLERS = ("tpe", "gp", "random", "qmc")
"""Names of the samplers: Optuna's `TPESampler`, `GPSampler`, `RandomSampler`, `QMCSampler`."""


def make_sampler(name: str, *, seed: int, cohort: int, trials: int) -> BaseSampler:
    """Makes the sampler of a cohort.

    It is seeded by (seed, cohort), so that a resumed study suggests what an uninterrupted one
    would. `qmc` is seeded by the seed alone: the whole study follows one sequence.

    Args:
        name: One of `SAMPLERS`.
        seed: Seed of the study.
        cohort: Number of the cohort, from 0.
        trials: Number of trials of the study. `tpe` and `gp` sample a quarter of them (from one
            to ten) at random before they model the results.
    """
    own = int(np.random.SeedSequence([seed, cohort]).generate_state(1)[0])
    startup = min(10, max(1, trials // 4))
    match name:
        case "tpe":
            return TPESampler(seed=own, n_startup_trials=startup)
        case "gp":
            return GPSampler(seed=own, n_startup_trials=startup)
        case "random":
            return RandomSampler(seed=own)
        case _:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return QMCSampler(
                    scramble=True,  # QMCSampler uses its seed only with scrambling
                    seed=seed,
                    independent_sampler=RandomSampler(seed=own),
                    warn_independent_sampling=False,
                )
