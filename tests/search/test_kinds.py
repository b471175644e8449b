"""Spaces and numbers as people write them: taken as Python's, or refused in one sentence."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from ray import tune
from torch.optim import SGD, AdamW

from raykd.methods.kd import KD
from raykd.study import Study
from raykd.study.checks import check

Make = Callable[..., Study]
CHOICES = CategoricalDistribution
DEFAULT = {"first": ()}


def written(study: Make, changes: dict[str, Any]) -> Study:
    """A study with values that the tests' own type checks would not let in."""
    made = study()
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {"alpha": tune.uniform(1.0, 2.0)}}, "alpha is <ray.tune"),
        ({"space": {"alpha": tune.choice([1.01, 2])}}, "such as FloatDistribution(0.1, 1.0)"),
        ({"space": {"alpha": [1.01, 1.5]}}, "such as CategoricalDistribution([1.01, 1.5])"),
        ({"space": {"alpha": (1.01, 1.5)}}, "of the type tuple"),
        ({"space": {"alpha": {"min": 1}}}, "of the type dict"),
        ({"space": {"alpha": {1.5}}}, "such as CategoricalDistribution([1.5])"),
        ({"space": {"alpha": []}}, "such as FloatDistribution"),
        ({"space": {"alpha": 1.5}}, "alpha is 1.5, of the type float"),
        ({"space": {"alpha": None}}, "of the type NoneType"),
        ({"space": {"alpha": FloatDistribution}}, "such as FloatDistribution(0.1, 1.0)"),
        ({"space": [("alpha", FloatDistribution(1, 2))]}, "the space is a list; give a dict"),
        ({"space": {0: FloatDistribution(1, 2)}}, "the space has the name 0"),
        ({"space": {"alpha": FloatDistribution(1, float("inf"))}}, "to inf; give finite bounds"),
        ({"space": {"alpha": FloatDistribution(float("nan"), 2)}}, "from nan to 2.0"),
        ({"space": {"alpha": CHOICES([1.01, float("nan")])}}, "choice nan; give finite"),
        (
            {"optimizer": AdamW, "space": {"betas": CHOICES([(0.9, 0.99), (0.9, 0.9)])}, **DEFAULT},
            "choice (0.9, 0.99), of the type tuple; choices are numbers, text",
        ),
        ({"space": {"alpha": CHOICES([1.01, [2]])}}, "choice [2], of the type list"),
        ({"first": {"alpha": 1.5}}, "first is {'alpha': 1.5}; give a list of settings"),
        ({"first": [{"alpha": "1.5"}]}, "alpha is the text '1.5'; give the number 1.5"),
        ({"first": [{"alpha": True}]}, "alpha=True, of the type bool; give a number"),
        ({"first": [{"alpha": (1.5,)}]}, "alpha=(1.5,), of the type tuple; give a number"),
        ({"first": [{"alpha": float("nan")}]}, "alpha=nan, which lies outside"),
        ({"optimizer": partial(SGD, lr="1e-3")}, "lr is the text '1e-3'; give the number 0.001"),
        ({"optimizer": partial(SGD, momentum="0.9")}, "momentum is the text '0.9'"),
        (
            {"optimizer": partial(SGD, lr="fast"), "space": {}, "trials": 1},
            "the optimizer can't be made",
        ),
        ({"references": (partial(KD, temperature="4"),)}, "temperature is the text '4'"),
        ({"references": (partial(KD, temperature=[4]),)}, "the method kd can't be made with"),
        ({"epochs": "3"}, "epochs is the text '3'; give a number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_kinds_are_refused(study: Make, changes: dict[str, Any], words: str) -> None:
    made = written(study, changes)
    with pytest.raises(ValueError, match=r"\w") as told:
        check(made)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_scalars_of_numpy_and_torch_are_numbers(study: Make) -> None:
    choices = list(np.linspace(1.25, 2, 4, dtype=np.float32))
    changes: dict[str, Any] = {
        "space": {
            "alpha": CHOICES(choices),
            "lr": FloatDistribution(np.float64(0.01), np.float32(0.5)),
            "nesterov": CHOICES([np.bool_(False)]),
        },
        "first": [{"alpha": np.float32(1.25), "lr": torch.tensor(0.25), "nesterov": False}],
        "references": (partial(KD, temperature=torch.tensor(2.0), gamma=np.float32(1)),),
        "optimizer": partial(SGD, lr=np.float64(0.1), momentum=torch.tensor(0.5)),
        "batch_size": np.int64(16),
    }
    made = written(study, changes)
    check(made)
    question = made.search_config(concurrent=1)
    assert made.space["alpha"] == CHOICES((1.25, 1.5, 1.75, 2.0))
    assert question.given == ({"alpha": 1.25, "lr": 0.25, "nesterov": False},)
    assert question.references[0].config == {"temperature": 2.0, "gamma": 1}
    held = [*made.space["alpha"].choices, *question.given[0].values(), made.batch_size]
    held += [*question.references[0].config.values(), *made.optimizer.keywords.values()]
    assert {type(value) for value in held} == {float, bool, int}


def test_a_space_of_one_point_is_fine(study: Make) -> None:
    check(study(space={"alpha": FloatDistribution(1.01, 1.01)}))
