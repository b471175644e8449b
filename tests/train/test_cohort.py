"""A trial's numbers are the same alone, in company, after a kill, beside a failure."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import torch
from networks import Dropping, Plain, network
from safetensors.torch import load
from torch import Tensor, nn

from raykd.data import Batch
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.store import Folder
from raykd.train.cohort import Cohort, Member
from raykd.train.halving import Halving
from raykd.train.loop import Row
from raykd.train.recipe import Recipe
from raykd.train.teacher import Teacher

Make = Callable[..., Cohort]
TIMES = ("seconds", "share_seconds", "data_wait_seconds", "images_per_second")


def numbers(rows: list[Row]) -> dict[str, float]:
    """What an epoch says but for the clock."""
    return {
        f"{row.trial} {row.epoch} {name}": value
        for row in rows
        for name, value in row.metrics.items()
        if name not in TIMES
    }


def run(cohort: Cohort) -> dict[str, float]:
    return {name: value for rows in cohort.run() for name, value in numbers(rows).items()}


def last(cohort: Cohort, trial: str) -> dict[str, Tensor]:
    return load(cohort.folder.read(f"{trial}/last.safetensors"))


class Diverging(Vanilla):
    """Breaks in the third epoch."""

    def schedule(self, progress: float) -> None:
        self.factor = float("nan") if progress >= 0.5 else 1.0

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        return {"ce": self.factor * super().forward(s, t, batch)["ce"]}


def test_alone_as_in_company(cohort: Make) -> None:
    together = cohort()
    expected = run(together)
    for member in together.members:
        alone = cohort([member], where=f"alone-{member.trial}")
        assert run(alone).items() <= expected.items()
        for name, tensor in last(alone, member.trial).items():
            assert torch.equal(tensor, last(together, member.trial)[name])


def test_dropout_draws_from_the_students_own_generator(cohort: Make) -> None:
    members = [Member("a", Vanilla, seed=1), Member("b", Vanilla, seed=2)]
    both = run(cohort(members, student=Dropping))
    assert both["a 4 train_loss"] != both["b 4 train_loss"]
    alone = run(cohort(members[1:], student=Dropping, where="alone"))
    assert alone.items() <= both.items()


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_goes_on_exactly(cohort: Make, epoch: int) -> None:
    """Stopped after any epoch: the weights are those of an unbroken run, bit for bit."""
    halving = Halving((2,), keep=0.6)
    unbroken = cohort(where="unbroken", halving=halving)
    expected = run(unbroken)
    for rows in cohort(halving=halving).run():
        if rows[0].epoch == epoch:
            break
    resumed = cohort(halving=halving)
    assert run(resumed) == expected
    for member in resumed.members:
        for kind in ("last", "best"):
            path = f"{member.trial}/{kind}.safetensors"
            assert resumed.folder.read(path) == unbroken.folder.read(path)


class GoneError(Exception):
    """The machine was taken away."""


@pytest.mark.parametrize("batch", [0, 2, 4, 13])
def test_goes_on_in_mid_epoch(cohort: Make, batch: int) -> None:
    """A checkpoint on notice, then the machine is gone: not a batch is learned from twice."""
    expected = run(cohort(student=Dropping, where="unbroken"))
    asked, looked = count(), []

    def preempted() -> bool:
        if (now := next(asked)) == batch + 1:
            raise GoneError
        return now == batch

    with pytest.raises(GoneError):
        run(cohort(student=Dropping, preempted=preempted))
    resumed = cohort(student=Dropping, preempted=lambda: bool(looked.append(None)))
    assert run(resumed) == expected
    steps = -(-len(resumed.data) // resumed.data.batch_size)
    assert len(looked) == steps * resumed.recipe.epochs - batch - 1


@pytest.mark.slow
def test_goes_on_after_sigkill(cohort: Make, tmp_path: Path) -> None:
    """The same with a real process that is killed while it trains."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        sys.path.insert(0, sys.argv[1])
        from networks import classroom
        for rows in classroom(sys.argv[2]).run():
            print(rows[0].epoch, flush=True)
        """
    )
    arguments = [sys.executable, "-c", script, str(Path(__file__).parent)]
    process = subprocess.Popen([*arguments, str(tmp_path / "killed")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    assert process.stdout.readline() == b"2\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for where in ("killed", "unbroken"):
        subprocess.run([*arguments, str(tmp_path / where)], check=True, stdout=subprocess.DEVNULL)
    killed, unbroken = Folder(str(tmp_path / "killed")), Folder(str(tmp_path / "unbroken"))
    for path in unbroken.list(""):
        if path.endswith(".safetensors"):
            assert killed.read(path) == unbroken.read(path)


def test_a_failure_leaves_the_others_untouched(cohort: Make) -> None:
    members = [Member("good", Vanilla), Member("bad", Diverging), Member("other", Vanilla, seed=3)]
    history = [row for rows in cohort(members).run() for row in rows]
    bad = [row for row in history if row.trial == "bad"]
    assert [row.state for row in bad] == ["RUNNING", "RUNNING", "FAIL"]
    assert bad[-1].reason == "loss_ce became nan in epoch 3"
    good = run(cohort(members[:1], where="alone"))
    assert good.items() <= numbers(history).items()
    assert [row.state for row in history if row.trial == "other"][-1] == "COMPLETE"


def test_halving_drops_the_worst_and_spares_references(cohort: Make) -> None:
    history = [row for rows in cohort(halving=Halving((1, 2), keep=0.5)).run() for row in rows]
    states = {row.trial: (row.epoch, row.state) for row in history}
    assert states["vanilla"] == (4, "COMPLETE")
    ended = sorted(value for trial, value in states.items() if trial != "vanilla")
    assert ended == [(1, "PRUNED"), (2, "PRUNED"), (4, "COMPLETE")] or ended == [
        (1, "PRUNED"),
        (4, "COMPLETE"),
        (4, "COMPLETE"),
    ]
    first = {row.trial: row.metrics["val_top1"] for row in history if row.epoch == 1}
    del first["vanilla"]
    pruned = next(row.trial for row in history if row.state == "PRUNED")
    assert first[pruned] == min(first.values())


def test_best_and_last_are_stored(cohort: Make) -> None:
    taught = cohort()
    history = [row for rows in taught.run() for row in rows]
    kd = [row.metrics["val_top1"] for row in history if row.trial == "kd"]
    best, final = (
        taught.folder.read("kd/best.safetensors"),
        taught.folder.read("kd/last.safetensors"),
    )
    assert (best == final) == (max(kd) not in kd[:-1])


def test_a_teacher_that_changes_is_noticed(cohort: Make) -> None:
    class Moving(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Output:
            self.calls += 1
            return self.model(x)

    with pytest.raises(RuntimeError, match="the teacher's state changed"):
        run(cohort(teacher=Teacher(Moving(network(8)))))


def test_teacher_is_the_same_bit_for_bit(cohort: Make, teacher: Teacher) -> None:
    before = {name: tensor.clone() for name, tensor in teacher.model.state_dict().items()}
    run(cohort())
    for name, tensor in teacher.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_accumulation_is_exact_without_batch_statistics(cohort: Make) -> None:
    whole = run(cohort([Member("a", Vanilla)], student=Plain))
    parts = run(
        cohort(
            [Member("a", Vanilla)],
            student=Plain,
            recipe=Recipe(epochs=4, milestones=(2,), accumulate=4),
            where="parts",
        )
    )
    assert parts["a 4 train_loss"] == pytest.approx(whole["a 4 train_loss"], rel=1e-5)


def test_clipping_bounds_each_student_alone(cohort: Make) -> None:
    members = [Member("calm", Vanilla), Member("bad", Diverging)]
    recipe = Recipe(epochs=4, clip=0.5)
    both = run(cohort(members, recipe=recipe))
    alone = run(cohort(members[:1], recipe=recipe, where="alone"))
    assert alone.items() <= both.items()
    unclipped = run(cohort(members[:1], recipe=Recipe(epochs=4), where="unclipped"))
    assert unclipped["calm 1 train_loss"] != alone["calm 1 train_loss"]


def test_bfloat16_gives_float32_losses(cohort: Make) -> None:
    seen: list[torch.dtype] = []

    class Watching(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            seen.extend([s.logits.dtype, t.pooled.dtype])
            return super().forward(s, t, batch)

    recipe = Recipe(epochs=1, precision="bfloat16")
    run(cohort([Member("a", partial(Watching))], recipe=recipe))
    assert set(seen) == {torch.float32}
