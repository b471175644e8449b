"""The learning rate of every step, what a trial may set, what is refused."""

import json
import math
from dataclasses import fields, replace
from functools import partial
from io import BytesIO

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from raykd.train.recipe import Recipe

STEPS = 4
"""In an epoch."""


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(1))


def rates(recipe: Recipe) -> list[list[float]]:
    """The learning rate of each step, a list an epoch."""
    optimizer, scheduler = recipe.build([parameter()], STEPS)
    seen = []
    for _ in range(recipe.epochs * STEPS):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [seen[i : i + STEPS] for i in range(0, len(seen), STEPS)]


def test_milestones_end_an_epoch() -> None:
    """With 150, epoch 151 is the first at the new rate."""
    epochs = rates(Recipe(epochs=240, milestones=(150, 180, 210)))
    assert epochs[149] == [0.05] * STEPS
    assert epochs[150] == pytest.approx([0.005] * STEPS)
    assert epochs[179] == epochs[150] != epochs[180]
    assert epochs[239] == pytest.approx([0.05e-3] * STEPS)


def test_milestones_count_the_warm_up() -> None:
    epochs = rates(Recipe(epochs=6, milestones=(3, 5), decay=0.5, warmup=2))
    assert epochs[2] == [0.05] * STEPS
    assert epochs[3] == [0.025] * STEPS
    assert epochs[4] == [0.025] * STEPS
    assert epochs[5] == [0.0125] * STEPS


@pytest.mark.parametrize("schedule", ["milestones", "cosine", "constant"])
@pytest.mark.parametrize("steps", [1, STEPS])
def test_warm_up_grows_linearly_to_the_full_rate(schedule: str, steps: int) -> None:
    recipe = Recipe(epochs=5, schedule=schedule, warmup=2)
    optimizer, scheduler = recipe.build([parameter()], steps)
    seen = []
    for _ in range(2 * steps + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    wanted = [0.05 * (i + 1) / (2 * steps) for i in range(2 * steps)]
    assert seen == pytest.approx([*wanted, 0.05])


def test_cosine_goes_from_full_to_nothing() -> None:
    optimizer, scheduler = Recipe(epochs=3, schedule="cosine").build([parameter()], STEPS)
    total = 3 * STEPS
    for step in range(total):
        wanted = 0.025 * (1 + math.cos(math.pi * step / total))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted, abs=1e-9)
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_cosine_takes_what_the_warm_up_leaves() -> None:
    epochs = rates(Recipe(epochs=6, schedule="cosine", warmup=2))
    assert epochs[2:] == [pytest.approx(e) for e in rates(Recipe(epochs=4, schedule="cosine"))]


def test_onecycle_has_its_peak_at_the_optimizers_rate_and_leaves_the_momentum() -> None:
    recipe = Recipe(epochs=10, schedule="onecycle")
    flat = [rate for epoch in rates(recipe) for rate in epoch]
    assert max(flat) == pytest.approx(0.05, rel=1e-2)
    assert flat[0] == pytest.approx(0.05 / 25)
    assert flat[-1] < 0.001
    optimizer, scheduler = recipe.build([parameter()], STEPS, momentum=0.7)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["momentum"] == 0.7


def test_constant_stays() -> None:
    assert rates(Recipe(epochs=3, schedule="constant")) == [[0.05] * STEPS] * 3


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=4, milestones=(2, 3)),
        Recipe(epochs=4, milestones=(2, 3), warmup=1),
        Recipe(epochs=4, schedule="cosine", warmup=1),
        Recipe(epochs=4, schedule="onecycle"),
        Recipe(epochs=4, schedule="constant"),
    ],
    ids=lambda recipe: f"{recipe.schedule}-{recipe.warmup}",
)
@pytest.mark.parametrize("stop", [1, STEPS, 2 * STEPS + 1])
def test_a_stored_schedule_goes_on_exactly(recipe: Recipe, stop: int) -> None:
    unbroken = [rate for epoch in rates(recipe) for rate in epoch]
    optimizer, scheduler = recipe.build([parameter()], STEPS)
    for _ in range(stop):
        optimizer.step()
        scheduler.step()
    stored = BytesIO()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], stored)
    stored.seek(0)
    states = torch.load(stored, weights_only=True)
    optimizer, scheduler = recipe.build([parameter()], STEPS)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    resumed = []
    for _ in range(len(unbroken) - stop):
        resumed.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert resumed == unbroken[stop:]


def test_a_trial_sets_the_optimizers_arguments() -> None:
    optimizer, _ = Recipe(epochs=1).build([parameter()], STEPS, lr=0.3, weight_decay=0.0)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["momentum"]) == (0.3, 0.0, 0.9)


def test_tunable_are_the_optimizers_own_arguments() -> None:
    assert {"lr", "momentum", "weight_decay", "nesterov"} <= Recipe(epochs=1).tunable()
    assert {"lr", "betas", "eps"} <= Recipe(epochs=1, optimizer=partial(AdamW, lr=1)).tunable()
    assert not {"params", "self", "foreach", "fused"} & Recipe(epochs=1).tunable()


CHANGES = {
    "epochs": 11,
    "optimizer": partial(SGD, lr=0.06, momentum=0.9, weight_decay=5e-4),
    "schedule": "constant",
    "milestones": (6,),
    "decay": 0.2,
    "warmup": 2,
    "clip": 2.0,
    "accumulate": 2,
    "precision": "float32",
    "compile": True,
}


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe)])
def test_a_description_tells_every_field(name: str) -> None:
    recipe = Recipe(epochs=10)
    changed = replace(recipe, **{name: CHANGES[name]})
    assert json.dumps(changed.describe()) != json.dumps(recipe.describe())
    assert set(recipe.describe()) == {field.name for field in fields(Recipe)}


def test_a_description_says_the_same_of_the_same() -> None:
    assert json.dumps(Recipe(epochs=3).describe()) == json.dumps(Recipe(epochs=3).describe())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs is 0; at least one"),
        ({"schedule": "poly"}, "unknown schedule 'poly'; known: milestones, cosine"),
        ({"schedule": "cosine", "milestones": (2,)}, "no meaning in the schedule 'cosine'"),
        ({"milestones": (5, 2)}, "must grow"),
        ({"milestones": (2, 2)}, "must grow"),
        ({"milestones": (0, 2)}, "after epoch 0"),
        ({"milestones": (2,), "warmup": 2}, "after epoch 2, the end of the warm-up"),
        ({"warmup": 10}, "warmup is 10 epochs; it must be at least 0 and below the 10"),
        ({"warmup": -1}, "warmup is -1"),
        ({"schedule": "onecycle", "warmup": 1}, "a warm-up of its own; leave warmup out"),
        ({"decay": 0.0}, "decay is 0.0; the factor must be above 0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"precision": "float16"}, "unknown precision 'float16'; known: float32, bfloat16"),
    ],
)
def test_what_cannot_be(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**{"epochs": 10, **fields})


def test_precision_follows_the_device_unless_told() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert not Recipe(epochs=1).autocast(cpu)
    assert Recipe(epochs=1).autocast(gpu)
    assert Recipe(epochs=1, precision="bfloat16").autocast(cpu)
    assert not Recipe(epochs=1, precision="float32").autocast(gpu)
