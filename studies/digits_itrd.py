#!/usr/bin/env python3
"""ITRD on scikit-learn's digits: the smallest study of real images, with nothing to download.

The study applies the method of Miles et al. (BMVC 2022), sections 4 and 5.1, to 1,797 handwritten
digits of 8 x 8 pixels. A ResNet-8 of 24-48-96 channels teaches one of 6-12-24. There are no
published numbers for it.

16 trials of 30 epochs in cohorts of 4, with the plain student and KD in the first cohort, take a
few minutes on two cores:

    python studies/digits_itrd.py

With a standard deviation over replicates:

    python studies/digits_itrd.py --seeds 3
"""

from functools import partial

from optuna.distributions import FloatDistribution
from torch.optim import SGD

from raykd.data.digits import Digits
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.resnet import resnet8w6, resnet8w24
from raykd.study import Study

study = Study(
    name="digits_itrd",
    data=Digits,
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
    epochs=30,
    batch_size=64,
    optimizer=partial(SGD, lr=0.05, momentum=0.9, weight_decay=5e-4),
    milestones=(20, 27),
    smoke={"epochs": 2, "trials": 4, "cohort": 2},
)

if __name__ == "__main__":
    study.main()
