#!/usr/bin/env python3
"""Distillation without data: the student sees Gaussian noise (Raikwar and Mishra, NeurIPS 2022).

The teacher's batch norms use the statistics of each noise batch, and the student learns only from
the teacher's outputs. Published for CIFAR-10 after 200 epochs of 50,000 noise images in batches of
256 with Adam at 0.001: a ResNet-34 of 93.29 % teaches a ResNet-18 to 85.98 %, against some 13 %
with running statistics.

Here a ResNet-8 of 24-48-96 channels, which was trained on the glyphs, teaches one of 6-12-24. The
study searches the learning rate (its range is assumed) and the share of the teacher's batch norms
that use the batch's statistics, which is the paper's ablation. In the reference `kd`, which has
soft labels alone at temperature 1, no batch norm uses them. Trials are chosen by the glyphs'
validation split: only the training is without data. The student's running statistics would be those
of noise, so it uses the batch's statistics at inference too.

12 trials of 30 epochs of 8,000 noise images in cohorts of 4 take an hour on two cores.

    python studies/noise_data_free.py
"""

from functools import partial

from optuna.distributions import FloatDistribution
from torch import nn
from torch.optim import SGD, Adam

from raykd.data.glyphs import Glyphs
from raykd.data.noise import Noise as NoiseData
from raykd.data.synthetic import Synthetic
from raykd.methods.kd import KD
from raykd.methods.noise import Noise
from raykd.models.resnet import resnet8w6, resnet8w24
from raykd.modules.batch_statistics import on_batch_statistics
from raykd.study import Study
from raykd.train.recipe import Recipe

small = partial(Synthetic, shape=(1, 32, 32), samples=160, tests=32)


def student(num_classes: int, in_channels: int) -> nn.Module:
    """Returns a student whose batch norms use the batch's statistics in training and inference."""
    return on_batch_statistics(resnet8w6(num_classes, in_channels))


study = Study(
    name="noise_data_free",
    data=partial(NoiseData, real=Glyphs, samples=8000),
    teacher=resnet8w24,
    teacher_data=Glyphs,
    student=student,
    method=Noise,
    space={"lr": FloatDistribution(1e-4, 1e-2, log=True), "fraction": FloatDistribution(0.0, 1.0)},
    first=[{}],  # published: 0.001 and all batch norms
    references=[partial(KD, temperature=1.0, alpha=1.0)],
    metric="val_top1",
    mode="max",
    trials=12,
    cohort=4,
    epochs=30,
    batch_size=128,
    optimizer=partial(Adam, lr=1e-3),
    schedule="cosine",
    teacher_recipe=Recipe(
        epochs=8,
        optimizer=partial(SGD, lr=0.05, momentum=0.9, weight_decay=5e-4),
        milestones=(5, 7),
    ),
    smoke={
        "data": partial(NoiseData, real=small, samples=256),
        "teacher_data": small,
        "epochs": 2,
        "trials": 2,
        "cohort": 2,
        "batch_size": 32,
    },
)

if __name__ == "__main__":
    study.main()
