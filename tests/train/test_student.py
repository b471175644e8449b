"""A student's step, its own randomness, and what it takes to go on."""

from functools import partial
from io import BytesIO
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Dropping, Plain, network, synthetic
from torch import Tensor, nn
from torch.optim import SGD

from raykd.data import Batch
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.train.recipe import Recipe
from raykd.train.student import Randomness, Student
from raykd.train.teacher import Teacher

CPU = torch.device("cpu")
PLAIN_SGD = Recipe(epochs=2, optimizer=partial(SGD, lr=0.1))


def student(method: Any = Vanilla, recipe: Recipe = PLAIN_SGD, **options: Any) -> Student:
    options = {"model": Plain, "t": None, **options}
    example = torch.zeros(2, 1, 8, 8)
    return Student("a", method=method, example=example, recipe=recipe, steps_per_epoch=4, **options)


@pytest.fixture
def batch() -> Batch:
    return next(synthetic().train(0))


def weights(taught: Student) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in taught.loss.state_dict().items()}


def test_a_step_is_the_optimizers_on_the_sum_of_the_terms(batch: Batch, teacher: Teacher) -> None:
    t = teacher(batch)
    taught = student(partial(KD, alpha=0.3), t=t)
    taught.begin(0)
    twin = Plain()
    twin.load_state_dict(taught.model.state_dict())
    method = KD(twin(batch.input), t, alpha=0.3)
    sum(method(twin(batch.input), t, batch).values()).backward()
    SGD(twin.parameters(), lr=0.1).step()
    taught.step(batch, t)
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(taught.model.state_dict()[name], tensor)


def test_a_step_counts_terms_accuracy_and_rate(batch: Batch) -> None:
    taught = student()
    taught.begin(0)
    with torch.no_grad():
        logits = taught.model(batch.input).logits
    taught.step(batch, None)
    n = len(batch.target)
    loss = F.cross_entropy(logits, batch.target) * n
    assert taught.sums["loss_ce"].item() == pytest.approx(loss.item(), rel=1e-6)
    assert taught.sums["train_top1"] == (logits.argmax(1) == batch.target).sum()
    assert taught.sums["samples"] == n
    assert taught.lr == 0.1


def test_the_rate_told_is_the_one_that_was_used(batch: Batch) -> None:
    taught = student(recipe=Recipe(epochs=2, optimizer=partial(SGD, lr=0.1), milestones=(1,)))
    told = []
    for epoch in range(2):
        taught.begin(epoch)
        for _ in range(4):
            taught.step(batch, None)
        told.append(taught.lr)
    assert told == pytest.approx([0.1, 0.01])


def test_the_methods_parts_are_trained_and_not_counted(batch: Batch, teacher: Teacher) -> None:
    t = teacher(batch)
    taught = student(ITRD, t=t)
    assert taught.parameters == sum(p.numel() for p in Plain().parameters())
    before = weights(taught)
    taught.begin(0)
    taught.step(batch, t)
    after = weights(taught)
    parts = [name for name in before if name.startswith("method.")]
    assert parts
    assert all(not torch.equal(before[name], after[name]) for name in parts)


def test_frozen_parts_of_a_student_stay(batch: Batch) -> None:
    def half_frozen() -> nn.Module:
        model = Plain()
        model.conv.requires_grad_(False)
        return model

    taught = student(model=half_frozen)
    before = weights(taught)
    taught.begin(0)
    taught.step(batch, None)
    assert torch.equal(before["model.conv.weight"], taught.model.conv.weight)
    assert not torch.equal(before["model.head.weight"], taught.model.head.weight)


@pytest.mark.parametrize("parts", [2, 3, 5, 16, 99])
def test_accumulated_parts_are_the_whole_batch(batch: Batch, teacher: Teacher, parts: int) -> None:
    t = teacher(batch)
    whole = student(KD, t=t)
    cut = student(KD, t=t, recipe=Recipe(2, partial(SGD, lr=0.1), accumulate=parts))
    for taught in (whole, cut):
        taught.begin(0)
        taught.step(batch, t)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(cut)[name], tensor)
    for name, value in whole.sums.items():
        torch.testing.assert_close(cut.sums[name], value, rtol=1e-5, atol=0)


def test_weight_scales_the_gradient_and_not_the_metrics(batch: Batch) -> None:
    once, half = student(), student()
    start = weights(once)["model.head.bias"]
    for taught, weight in ((once, 1.0), (half, 0.5)):
        taught.begin(0)
        taught.step(batch, None, weight)
    step = weights(once)["model.head.bias"] - start
    torch.testing.assert_close(weights(half)["model.head.bias"] - start, step / 2)
    assert half.sums["loss_ce"] == once.sums["loss_ce"]


def test_clipping_bounds_the_step(batch: Batch) -> None:
    taught = student(recipe=Recipe(2, partial(SGD, lr=1.0), clip=0.01))
    before = weights(taught)
    taught.begin(0)
    taught.step(batch, None)
    moved = [(weights(taught)[name] - before[name]).square().sum() for name in before]
    assert torch.stack(moved).sum().sqrt().item() == pytest.approx(0.01, rel=1e-3)


def test_schedules_hear_of_the_progress() -> None:
    heard: list[tuple[str, float]] = []

    class Listening(Plain):
        def schedule(self, progress: float) -> None:
            heard.append(("model", progress))

    class Method(Vanilla):
        def schedule(self, progress: float) -> None:
            heard.append(("method", progress))

    taught = student(Method, model=Listening, recipe=Recipe(epochs=4))
    taught.begin(0)
    taught.begin(3)
    assert heard == [("model", 0.0), ("method", 0.0), ("model", 0.75), ("method", 0.75)]


def test_the_seed_makes_weights_and_dropout(batch: Batch) -> None:
    def losses(seed: int) -> list[float]:
        taught = student(model=Dropping, seed=seed)
        told = []
        for epoch in range(2):
            taught.begin(epoch)
            taught.step(batch, None)
            told.append(taught.sums["loss_ce"].item())
        return told

    torch.manual_seed(1)
    first = losses(3)
    torch.manual_seed(2)
    assert losses(3) == first
    assert losses(4) != first


def test_the_global_generator_is_left_alone(batch: Batch) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    taught = student(model=Dropping, seed=3)
    taught.begin(0)
    taught.step(batch, None)
    assert torch.equal(torch.rand(3), expected)


def test_workers_start_alike_and_drop_out_differently(batch: Batch) -> None:
    zero, one = student(model=Dropping, rank=0), student(model=Dropping, rank=1)
    for name, tensor in weights(zero).items():
        assert torch.equal(tensor, weights(one)[name])
    for taught in (zero, one):
        taught.begin(0)
        taught.step(batch, None)
    assert zero.sums["loss_ce"] != one.sums["loss_ce"]


def test_randomness_is_a_function_of_seed_epoch_and_rank() -> None:
    def draw(seed: int, epoch: int, rank: int) -> float:
        random = Randomness(seed, CPU, rank)
        random.restart(epoch)
        with random.use():
            return torch.rand(()).item()

    drawn = [draw(*where) for where in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert len(set(drawn)) == 4
    assert draw(0, 1, 0) == drawn[2]


def test_randomness_goes_on_between_uses() -> None:
    random = Randomness(0, CPU)
    with random.use():
        together = torch.rand(4)
    random.restart(epoch=-1)
    with random.use():
        first = torch.rand(2)
    torch.rand(7)
    with random.use():
        assert torch.equal(torch.cat([first, torch.rand(2)]), together)


@pytest.mark.parametrize("method", [Vanilla, KD, ITRD])
def test_state_goes_on_exactly(method: Any, batch: Batch, teacher: Teacher) -> None:
    t = teacher(batch)
    recipe = Recipe(epochs=2, milestones=(1,))
    make = partial(student, method, recipe, model=partial(network, 4), t=t)
    unbroken = make()
    unbroken.begin(0)
    for _ in range(4):
        unbroken.step(batch, t)
    stored = BytesIO()
    torch.save(unbroken.state_dict(), stored)
    stored.seek(0)
    resumed = make(seed=9)
    resumed.load_state_dict(torch.load(stored, weights_only=True))
    for taught in (unbroken, resumed):
        taught.random = Randomness(0, CPU)
        taught.begin(1)
        for _ in range(2):
            taught.step(batch, t)
    for name, tensor in weights(unbroken).items():
        assert torch.equal(tensor, weights(resumed)[name])


def test_losses_are_float32_under_autocast(batch: Batch) -> None:
    class Watching(Vanilla):
        def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
            assert s.logits.dtype == s.stages[0].dtype == torch.float32
            assert not torch.is_autocast_enabled("cpu")
            return super().forward(s, t, batch)

    taught = student(Watching, recipe=Recipe(epochs=1, precision="bfloat16"))
    taught.begin(0)
    taught.step(batch, None)
    assert all(tensor.dtype == torch.float32 for tensor in weights(taught).values())
