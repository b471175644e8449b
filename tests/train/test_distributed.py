"""Two workers give the numbers of one with the same global batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from networks import network
from safetensors.torch import load_file
from worker import CASES, teach

from raykd.data.synthetic import Synthetic
from raykd.train import workers
from raykd.train.evaluate import evaluate
from raykd.train.loop import Row

pytestmark = pytest.mark.slow

TIMES = ("seconds", "share_seconds", "data_wait_seconds", "images_per_second", "worker_batch")
MEANS = ["means", "equal shares", "parts", "clipped", "unused head", "few to test", "stopped"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers stored, a folder for each case."""
    folder = tmp_path_factory.mktemp("pair")
    script = str(Path(__file__).with_name("worker.py"))
    started = [
        subprocess.Popen([sys.executable, script, str(folder), str(rank), "2"]) for rank in (0, 1)
    ]
    assert [process.wait(timeout=240) for process in started] == [0, 0]
    return folder


def told(pair: Path, case: str, rank: int = 0) -> list[Row]:
    return [Row(**row) for row in json.loads((pair / f"{rank}.json").read_text())[case]]


def numbers(rows: list[Row]) -> dict[str, float]:
    return {
        f"{row.trial} {row.epoch} {name}": value
        for row in rows
        for name, value in row.metrics.items()
        if name not in TIMES
    }


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.parent.name: load_file(path) for path in sorted(folder.glob("*/last.safetensors"))}


@pytest.mark.parametrize("case", MEANS)
def test_means_over_samples_are_those_of_one_worker(pair: Path, tmp_path: Path, case: str) -> None:
    alone = teach(CASES[case], tmp_path)
    assert numbers(told(pair, case)) == pytest.approx(numbers(alone), abs=1e-6)
    assert [row.state for row in told(pair, case)] == [row.state for row in alone]
    together, expected = weights(pair / case), weights(tmp_path)
    assert together.keys() == expected.keys() == {m.__name__ for m in CASES[case].methods}
    for trial, tensors in expected.items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(together[trial][name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_workers_tell_the_same(pair: Path, case: str) -> None:
    assert numbers(told(pair, case, rank=0)) == numbers(told(pair, case, rank=1))


def test_a_stop_changes_nothing(pair: Path) -> None:
    """Worker 1 asks for the checkpoint before worker 0 has written it, and takes the same."""
    assert numbers(told(pair, "stopped")) == numbers(told(pair, "means"))
    unbroken, stopped = weights(pair / "means"), weights(pair / "stopped")
    for trial, tensors in unbroken.items():
        for name, tensor in tensors.items():
            assert torch.equal(stopped[trial][name], tensor)


def test_what_is_evaluated_is_what_is_stored(pair: Path) -> None:
    """Batch norm's running means differ between workers; those of worker 0 count."""
    data = Synthetic(classes=4, shape=(1, 8, 8), samples=84, tests=15, batch_size=16)
    last = {row.trial: row.metrics for row in told(pair, "batch norm") if row.epoch == 4}
    for trial, tensors in weights(pair / "batch norm").items():
        model = network(4)
        model.load_state_dict(tensors)
        [val] = evaluate([model], data.validation())
        assert val["loss"] == pytest.approx(last[trial]["val_loss"], abs=1e-6)
        assert val["top1"] == pytest.approx(last[trial]["val_top1"])


def test_alone_there_is_nothing_to_join() -> None:
    module = torch.nn.Linear(1, 1)
    assert workers.world() == 1
    assert workers.join(module) is module
    assert workers.agree("a") == "a"
