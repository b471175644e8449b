"""A trial whose own code raises an exception fails alone; what all share ends the cohort."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from networks import Plain
from test_cohort import numbers, run
from torch import Tensor, nn
from torch.distributed import DistNetworkError

from raykd.data import Batch
from raykd.data.synthetic import Synthetic
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.store.errors import StoreError, UnavailableError
from raykd.train import failure, loop, workers
from raykd.train.cohort import Cohort, Member
from raykd.train.failure import RestartError, of_machine, reason
from raykd.train.halving import Halving
from raykd.train.loop import Row

Make = Callable[..., Cohort]
HERE = __file__


class Late(Vanilla):
    """Raises in the middle of an epoch, after it has drawn a random number."""

    steps = 7

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        torch.rand(1)
        self.steps -= self.training
        if self.steps == 0:
            raise KeyError("a key that\nis not there")
        return super().forward(s, t, batch)


class Unmade(Vanilla):
    def __init__(self, s: Output, t: Output) -> None:
        raise IndexError("no such stage")


class Unprepared(Vanilla):
    def prepare(self, *_: object) -> None:
        raise AttributeError("teacher")


class Unscheduled(Vanilla):
    def schedule(self, progress: float) -> None:
        if progress > 0:
            raise ZeroDivisionError


class Listed(Vanilla):
    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        return super().forward(s, t, batch)["ce"]  # type: ignore[return-value]


class Torn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:  # type: ignore[override]
        raise TypeError("no gradient")


class Backward(Vanilla):
    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        return {"ce": Torn.apply(super().forward(s, t, batch)["ce"])}


class Vague(Vanilla):
    def facts(self) -> dict[str, float]:
        return {"what": "nothing"}  # type: ignore[dict-item]


BAD = {
    Late: (2, "KeyError: "),
    Unmade: (1, "IndexError: no such stage"),
    Unprepared: (1, "AttributeError: teacher"),
    Unscheduled: (2, "ZeroDivisionError"),
    Listed: (1, "ValueError: forward must return a dict of scalar terms, such as {'ce': loss}"),
    Backward: (1, "TypeError: no gradient"),
    Vague: (1, "ValueError: could not convert"),
}


@pytest.fixture
def undisturbed(cohort: Make) -> dict[str, float]:
    return run(cohort([Member("a", Vanilla), Member("b", Vanilla, seed=2)], where="undisturbed"))


def ends(history: list[Row]) -> dict[str, Row]:
    return {row.trial: row for row in history if row.state != "RUNNING"}


def test_others_go_on_bit_for_bit(cohort: Make, undisturbed: dict[str, float]) -> None:
    bad = [Member(method.__name__, method) for method in BAD]
    members = [*bad[:4], Member("a", Vanilla), *bad[4:], Member("b", Vanilla, seed=2)]
    taught = cohort([*members, Member("lr", Vanilla, {"lr": -1.0})])
    history = [row for rows in taught.run() for row in rows]
    assert undisturbed.items() <= numbers(history).items()
    end = ends(history)
    assert (end.pop("a").state, end.pop("b").state) == ("COMPLETE", "COMPLETE")
    assert "Invalid learning rate" in end.pop("lr").reason
    assert {trial: (row.state, row.epoch, row.metrics) for trial, row in end.items()} == {
        method.__name__: ("FAIL", epoch, {}) for method, (epoch, _) in BAD.items()
    }
    for method, (_, text) in BAD.items():
        assert end[method.__name__].reason.startswith(text)
        if method is not Vague:  # raised by raykd, which reads what it returned
            assert f"{HERE}:" in end[method.__name__].reason
    assert "\n" not in "".join(row.reason for row in end.values())
    stored = taught.folder.list("")
    assert {path.partition("/")[0] for path in stored if path.endswith(".safetensors")} == {
        *("a", "b")
    }


def test_a_network_that_fails_when_it_is_evaluated(cohort: Make) -> None:
    class Shy(Plain):
        def forward(self, x: Tensor) -> Output:
            if not self.training and x.abs().sum() > 0:
                raise RuntimeError("not now")
            return super().forward(x)

    [rows] = cohort([Member("a", Vanilla), Member("b", Vanilla)], student=Shy).run()
    assert {(row.trial, row.state, row.epoch) for row in rows} == {
        ("a", "FAIL", 1),
        ("b", "FAIL", 1),
    }
    assert rows[0].reason.startswith("RuntimeError: not now")


def test_a_failed_trial_is_not_run_again(cohort: Make, undisturbed: dict[str, float]) -> None:
    members = [Member("a", Vanilla), Member("bad", Late), Member("b", Vanilla, seed=2)]
    halving = Halving((3,), keep=0.99)
    for rows in cohort(members, halving=halving).run():
        if rows[0].epoch == 2:
            break
    members[1] = Member("bad", Unmade)  # would fail once more if it were made
    history = [row for rows in cohort(members, halving=halving).run() for row in rows]
    assert undisturbed.items() <= numbers(history).items()
    assert [(row.epoch, row.state) for row in history if row.trial == "bad"][1:] == [(2, "FAIL")]


def test_a_checkpoint_in_mid_epoch_knows_who_failed(cohort: Make) -> None:
    members = [Member("a", Vanilla), Member("bad", Late)]
    asked: list[None] = []

    def preempted() -> bool:
        asked.append(None)
        if len(asked) == 9:
            raise InterruptedError
        return len(asked) == 8

    with suppress(InterruptedError):
        run(cohort(members, preempted=preempted))
    members[1] = Member("bad", Unmade)
    history = [row for rows in cohort(members).run() for row in rows]
    assert ends(history)["bad"].reason.startswith("KeyError")
    assert ends(history)["bad"].epoch == 2


def test_when_all_fail_the_cohort_ends(cohort: Make) -> None:
    taught = cohort([Member("a", Unmade), Member("b", Unprepared)])
    assert [[(row.trial, row.state) for row in rows] for rows in taught.run()] == [
        [("a", "FAIL"), ("b", "FAIL")]
    ]


class Broken(Synthetic):
    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        yield from super().train(epoch, start)
        raise LookupError("the last file")


def test_what_is_common_ends_the_cohort(cohort: Make) -> None:
    data = Broken(classes=4, shape=(1, 8, 8), samples=80, tests=16, batch_size=16)
    with pytest.raises(LookupError) as told:
        run(cohort(data=data))
    assert reason(told.value).startswith(f"LookupError: the last file ({HERE}:")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, UnavailableError("S3 is away")])
def test_what_is_nobodys_fault_goes_through(cohort: Make, error: BaseException) -> None:
    class Stopped(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            raise error

    with pytest.raises(type(error) if isinstance(error, Exception) else error):  # type: ignore[arg-type]
        run(cohort([Member("a", Vanilla), Member("stopped", Stopped)]))


def test_whose_fault_it_is() -> None:
    machine = [
        UnavailableError("away"),
        DistNetworkError("gone"),
        ConnectionResetError(),
        TimeoutError(),
        OSError("S3 said nothing"),
        torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"),
        RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate"),
        MemoryError(),
    ]
    code = [
        StoreError("damaged"),
        FileNotFoundError("teacher.pt"),
        PermissionError("x"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        KeyError("x"),
    ]
    assert [of_machine(error) for error in machine] == [True] * len(machine)
    assert [of_machine(error) for error in code] == [False] * len(code)
    outer = ValueError("a shard can't be read")
    outer.__cause__ = OSError("timeout")
    assert of_machine(outer)


def breaking(text: str) -> type[Vanilla]:
    class Breaking(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            raise torch.AcceleratorError(text)

    return Breaking


def test_an_error_of_the_gpu_blames_a_trial_at_the_second_time(
    cohort: Make, undisturbed: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errors are made up, and so is the GPU: each student's work is waited for when needed."""
    waited: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(failure, "_on_gpu", lambda device: True)
    bad = Member("bad", breaking("CUDA error: device-side assert triggered"))
    members = [Member("a", Vanilla), bad, Member("b", Vanilla, seed=2)]
    with pytest.raises(torch.AcceleratorError):
        run(cohort(members))
    assert waited == []
    with pytest.raises(RestartError, match=r"trial bad failed, the others start again"):
        run(cohort(members))
    assert waited != []
    history = [row for rows in cohort(members).run() for row in rows]
    assert undisturbed.items() <= numbers(history).items()
    assert "device-side assert" in ends(history)["bad"].reason
    hardware = [Member("a", Vanilla), Member("c", breaking("CUDA error: uncorrectable ECC error"))]
    for _ in range(3):
        with pytest.raises(torch.AcceleratorError):
            run(cohort(hardware, where="hardware"))


def test_memory_that_runs_out_is_the_cohorts_unless_a_student_is_alone(cohort: Make) -> None:
    class Large(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RuntimeError, match=r"no room for these 2 students .* a smaller cohort"):
        run(cohort([Member("a", Vanilla), Member("b", Large)]))
    [[row]] = cohort([Member("b", Large)], where="alone").run()
    assert row.state == "FAIL"


def test_of_several_workers_the_others_start_again(
    cohort: Make, undisturbed: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [Member("a", Vanilla), Member("bad", Late), Member("b", Vanilla, seed=2)]
    with monkeypatch.context() as several:
        several.setattr(workers, "world", lambda: 2)
        several.setattr(workers, "add_up", lambda sums: None)
        several.setattr(workers, "share_buffers", lambda module: None)
        several.setattr(workers, "agree", lambda value: value)
        several.setattr(loop, "_weight", lambda *_: 1.0)
        with pytest.raises(RestartError, match=r"trial bad failed, .*: KeyError"):
            run(cohort(members))
    history = [row for rows in cohort(members).run() for row in rows]
    expected = {name: value for name, value in undisturbed.items() if "worker_batch" not in name}
    assert expected.items() <= numbers(history).items()
    assert ends(history)["bad"].epoch == 2


def test_the_place_is_the_users_own_line(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("import json\ndef load():\n    return json.loads('{')\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import mine  # type: ignore[import-not-found]

        with pytest.raises(ValueError, match="Expecting") as told:
            mine.load()
    finally:
        sys.path.remove(str(tmp_path))
    assert reason(told.value).endswith(f"({script}:3)")
    with pytest.raises(RuntimeError) as of_torch:
        nn.Linear(2, 2)(torch.zeros(3))
    assert reason(of_torch.value).endswith(f"({HERE}:{of_torch.traceback[0].lineno + 1})")
    assert len(reason(ValueError("x" * 1000))) < 400
