#!/usr/bin/env python3
"""ITRD on glyphs: which loss weights teach a small ResNet to read 100 characters best?

The study applies the method of Miles et al. (BMVC 2022), sections 4 and 5.1, to data that needs no
download: 100 characters rendered from matplotlib's fonts. A ResNet-8 of 24-48-96 channels teaches
one of 6-12-24.

It has 16 trials of 4 epochs on 3,000 images, in cohorts of five students; the plain student and KD
are in the first cohort. After two epochs the worst three of five are dropped. It takes a few
minutes on two cores:

    python studies/glyphs_itrd.py

As a job on a cluster:

    ray job submit --working-dir . studies/glyphs_itrd.py
"""

from functools import partial

from optuna.distributions import FloatDistribution
from torch.optim import AdamW

from raykd.data.glyphs import Glyphs
from raykd.data.synthetic import Synthetic
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.resnet import resnet8w6, resnet8w24
from raykd.study import Study
from raykd.train.halving import Halving
from raykd.train.recipe import Recipe

study = Study(
    name="glyphs_itrd",
    data=partial(Glyphs, images=3000, validation=0.2),
    teacher=resnet8w24,
    student=resnet8w6,
    method=ITRD,
    space={
        "alpha": FloatDistribution(1.0, 2.0),
        "beta_corr": FloatDistribution(0.1, 10, log=True),
        "beta_mi": FloatDistribution(0.01, 10, log=True),
    },
    first=[{}],  # the paper's own values: ITRD's defaults
    references=[Vanilla, KD],
    metric="val_top1",
    mode="max",
    trials=16,
    cohort=5,
    epochs=4,
    batch_size=24,
    optimizer=partial(AdamW, lr=0.04, weight_decay=0.01, fused=True),
    schedule="onecycle",
    halving=Halving(rungs=(2,), keep=0.4),
    teacher_recipe=Recipe(
        epochs=6,
        optimizer=partial(AdamW, lr=0.015, weight_decay=0.01, fused=True),
        schedule="onecycle",
    ),
    smoke={
        "data": partial(Synthetic, shape=(1, 32, 32), samples=160, tests=32),
        "epochs": 2,
        "trials": 4,
        "cohort": 2,
    },
)

if __name__ == "__main__":
    study.main()
