"""Ray Train runs a cohort with the same numbers as the Tune actor does."""

from pathlib import Path

import pytest
from runs import numbers, trials, undisturbed

ONE_COHORT = ("--trials", "1", "--epochs", "2")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def in_actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(tmp_path_factory.mktemp("actor"), *ONE_COHORT)


def test_train_worker_and_tune_actor_give_the_same_numbers(in_actor: Path, tmp_path: Path) -> None:
    undisturbed(tmp_path, *ONE_COHORT, "--workers", "1")
    assert numbers(tmp_path) == numbers(in_actor)
    assert trials(tmp_path) == trials(in_actor)
