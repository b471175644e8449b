"""A small study that any of its fields can be changed of."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution

from raykd.data.synthetic import Synthetic
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.resnet import CifarResNet
from raykd.study import Study

sys.path.insert(0, str(Path(__file__).parent))  # for `runs`

SMALL = Study(
    name="small",
    data=partial(Synthetic, classes=4, shape=(1, 8, 8), samples=80, tests=16),
    teacher=partial(CifarResNet, 1, (8, 8, 8, 8)),
    student=partial(CifarResNet, 1, (4, 4, 4, 4)),
    method=ITRD,
    space={
        "alpha": FloatDistribution(1.0, 2.0),
        "lr": FloatDistribution(1e-3, 0.5, log=True),
    },
    references=(Vanilla, KD),
    trials=5,
    cohort=4,
    epochs=3,
    batch_size=16,
)


@pytest.fixture
def study() -> Callable[..., Study]:
    def make(**changes: Any) -> Study:
        return replace(SMALL, **changes)

    return make
