"""Ray Train runs a cohort with the same numbers as the Tune actor does."""

from pathlib import Path

import pytest
from runs import numbers, run_here, trials

ONE_COHORT = ("--trials", "1", "--epochs", "2")


@pytest.mark.slow
def test_train_worker_and_tune_actor_give_the_same_numbers(tmp_path: Path) -> None:
    actor, worker = tmp_path / "actor", tmp_path / "worker"
    run_here(actor, *ONE_COHORT)
    run_here(worker, *ONE_COHORT, "--workers", "1")
    assert numbers(worker) == numbers(actor)
    assert trials(worker) == trials(actor)
