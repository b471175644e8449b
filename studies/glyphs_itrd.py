#!/usr/bin/env python3
"""ITRD on glyphs: which loss weights teach a small ResNet to read 100 characters best?

The method of Miles et al. (BMVC 2022), sections 4 and 5.1, on data that needs no download: 100
characters rendered from matplotlib's fonts. A ResNet-8 of 24-48-96 channels teaches one of 6-12-24.

16 trials of 6 epochs in cohorts of 4, with the plain student and KD beside them in the first one;
half-way the worse half of a cohort is dropped. A few minutes on two cores.

    python studies/glyphs_itrd.py

As a job on a cluster:    ray job submit --working-dir . studies/glyphs_itrd.py
"""

from functools import partial

from optuna.distributions import FloatDistribution

from raykd.data.glyphs import Glyphs
from raykd.data.synthetic import Synthetic
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.resnet import resnet8w6, resnet8w24
from raykd.study import Study
from raykd.train.halving import Halving

study = Study(
    name="glyphs_itrd",
    data=Glyphs,
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
    cohort=4,
    epochs=6,
    schedule="cosine",
    halving=Halving(rungs=(3,), keep=0.5),  # the worse half of a cohort's search stops half-way
    smoke={
        "data": partial(Synthetic, shape=(1, 32, 32), samples=160, tests=32),
        "epochs": 2,
        "trials": 4,
        "cohort": 2,
    },
)

if __name__ == "__main__":
    study.main()
