#!/usr/bin/env python3
"""ITRD for a binary network: ResNet-18 teaches its 1-bit form (Miles et al., BMVC 2022, table 3).

Weights and activations of the student are binarised as in ReCU (Xu et al., ICCV 2021), on
CIFAR-10. Published test accuracies in %: teacher 94.8; RAD 90.5, IR-Net 91.5, RBNN 92.2, ReCU
alone 92.8; ReCU with CRD 92.1, ReviewKD 92.6, KD 93.3, L_corr 93.9, L_corr + L_mi 94.1.

Published by the author in an issue of the official repository: 600 epochs of batch 256, lr 0.1 with
warm-up and cosine, weight decay 5e-4, τ from 0.85 to 0.99, beta_corr 2, beta_mi 1. Published with
ReCU: momentum 0.9, 5 epochs of warm-up, ImageNet's mean and standard deviation, and the accuracy of
the best epoch (here, as in all studies of raykd, that of the last).

Assumed: alpha 1.01, as within one architecture; features after the last batch norm; a cosine that
reaches 0 with the last epoch; the teacher's recipe, since its weights are lost; the weights of the
reference KD; the search space. The paper does not use KD: the first setting has kd_weight 0, and
the search may add it.

32 trials of 600 epochs (106,000 steps each) take some 6 hours on one GPU at an assumed 7 ms a step.

    python studies/binary_recu.py --data FOLDER
"""

from collections.abc import Callable
from functools import partial

from optuna.distributions import FloatDistribution
from torch.optim import SGD

from raykd.data.cifar import CIFAR10
from raykd.data.samples import sample_cifar10
from raykd.methods import Method
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.recu import resnet18_1w1a, resnet20_1w1a
from raykd.models.resnet import resnet20
from raykd.models.resnet_cifar import resnet18_cifar
from raykd.study import Study
from raykd.train.recipe import Recipe

ITRD_KD: Callable[..., Method] = ITRD + KD
sgd = partial(SGD, lr=0.1, momentum=0.9, weight_decay=5e-4)

study = Study(
    name="binary_recu",
    data=partial(CIFAR10, root="data", normalise="imagenet"),
    teacher=resnet18_cifar,
    student=resnet18_1w1a,
    method=partial(ITRD_KD, kd_alpha=1.0, kd_weight=0.0),
    space={
        "itrd_alpha": FloatDistribution(1.0, 2.0),
        "itrd_beta_corr": FloatDistribution(0.1, 10, log=True),
        "itrd_beta_mi": FloatDistribution(0.01, 10, log=True),
        "kd_weight": FloatDistribution(0.0, 2.0),
    },
    first=[{}],  # the paper's own values
    references=[Vanilla, KD, partial(ITRD, beta_mi=0.0)],
    metric="val_top1",
    mode="max",
    trials=32,
    cohort=4,
    epochs=600,
    batch_size=256,
    optimizer=sgd,
    schedule="cosine",
    warmup=5,
    teacher_recipe=Recipe(epochs=200, optimizer=sgd, schedule="cosine", warmup=5),
    smoke={
        "data": partial(sample_cifar10, normalise="imagenet"),
        "teacher": resnet20,
        "student": resnet20_1w1a,
        "teacher_recipe": Recipe(epochs=1, optimizer=sgd),
        "epochs": 2,
        "batch_size": 16,
        "trials": 2,
        "cohort": 2,
    },
)

if __name__ == "__main__":
    study.main()
