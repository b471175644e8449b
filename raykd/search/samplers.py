"""Samplers: Optuna's, by name, seeded for each cohort."""

import warnings

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

SAMPLERS = ("tpe", "gp", "random", "qmc")


def make_sampler(name: str, *, seed: int, cohort: int, trials: int) -> BaseSampler:
    """Makes the sampler of a cohort.

    It is seeded by (seed, cohort), so that what it suggests depends on no earlier run. `qmc`
    continues one sequence for the whole study.

    Args:
        name: One of `SAMPLERS`.
        seed: The study's.
        cohort: Number of the cohort, from 0.
        trials: Number of trials of the study, a quarter of which (at most ten) are random.
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
                    scramble=True,  # else the seed has no say
                    seed=seed,
                    independent_sampler=RandomSampler(seed=own),
                    warn_independent_sampling=False,
                )
