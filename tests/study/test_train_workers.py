"""Ray Train runs a cohort with the same numbers as the Tune actor does."""

from pathlib import Path

import pytest
from runs import finish, numbers, start, trials

ONE_COHORT = ("--trials", "1", "--epochs", "2")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def in_actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("actor")
    process = start(root, *ONE_COHORT)
    output = finish(process)
    assert process.returncode == 0, output
    return root


def test_train_worker_and_tune_actor_give_the_same_numbers(in_actor: Path, tmp_path: Path) -> None:
    process = start(tmp_path, *ONE_COHORT, "--workers", "1")
    output = finish(process)
    assert process.returncode == 0, output
    assert numbers(tmp_path) == numbers(in_actor)
    assert trials(tmp_path) == trials(in_actor)
