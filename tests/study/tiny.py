#!/usr/bin/env python3
"""A study of seconds, on made-up images, for tests that run it as a user would."""

from functools import partial

from optuna.distributions import FloatDistribution

from raykd.data.synthetic import Synthetic
from raykd.methods.itrd import ITRD
from raykd.methods.vanilla import Vanilla
from raykd.models.resnet import CifarResNet
from raykd.study import Study
from raykd.train.halving import Halving

study = Study(
    name="tiny",
    data=partial(Synthetic, classes=4, shape=(1, 8, 8), samples=400, tests=40),
    teacher=partial(CifarResNet, 1, (8, 8, 8, 8)),
    student=partial(CifarResNet, 1, (4, 4, 4, 4)),
    method=ITRD,
    space={"alpha": FloatDistribution(1.0, 2.0), "lr": FloatDistribution(1e-3, 0.5, log=True)},
    references=[Vanilla],
    trials=6,
    cohort=2,
    epochs=5,
    batch_size=16,
    schedule="cosine",
    halving=Halving((3,), keep=0.5),
)

if __name__ == "__main__":
    study.main()
