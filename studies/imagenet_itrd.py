#!/usr/bin/env python3
"""ITRD on ImageNet: ResNet-34 teaches ResNet-18 (Miles et al., BMVC 2022, section 5.1, figure 2).

Published: the student reaches a top-1 error of 28.32 % (accuracy 71.68 %) with 100 epochs of SGD at
a learning rate of 0.1, divided by 10 after 30, 60 and 90. The teacher has 73.31 %, the student
alone 69.76 % (torchvision's weights), KD 71.37 % (torchdistill, temperature 1, half cross-entropy
and half KD).

Assumed, since ITRD's settings for ImageNet were never released: batch size 256 over all GPUs,
momentum 0.9 and weight decay 1e-4 (torchdistill's for this pair), alpha 1.01, beta_corr 2, beta_mi
1 (as for CIFAR within an architecture), and the search space. Published accuracies are those on
ImageNet's validation set, which raykd uses as the test set. Trials are chosen by 4 % of the
training set, which is held out.

The study has 16 trials of 100 epochs in cohorts of 4, which share decoding and teacher. In the
published log of a similar method (SRD in torchdistill), one trial alone takes 39 hours on one GPU.
Expect hundreds of GPU-hours. Pack the images first (`raykd pack`), then run:

    python studies/imagenet_itrd.py --data s3://BUCKET/imagenet --storage s3://BUCKET/raykd

The clusters of cluster/ set both in the environment of jobs, as RAYKD_IMAGENET and RAYKD_STORAGE.

The teacher's weights are torchvision's; each node that does not have them downloads them. If CPU
nodes are to decode images for the GPU nodes, use `raykd.runtime.streamed_data.Streamed` instead of
`ImageNet`.
"""

import os
from functools import partial

from optuna.distributions import FloatDistribution
from torch.optim import SGD

from raykd.data.imagenet import ImageNet
from raykd.data.samples import sample_imagenet
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.imagenet import resnet18, resnet34
from raykd.study import Study
from raykd.train.recipe import Recipe

study = Study(
    name="imagenet_itrd",
    data=partial(ImageNet, root=os.environ.get("RAYKD_IMAGENET", "data/imagenet")),
    teacher=partial(resnet34, weights="IMAGENET1K_V1"),
    student=resnet18,
    method=ITRD,
    space={
        "alpha": FloatDistribution(1.0, 2.0),
        "beta_corr": FloatDistribution(0.1, 10, log=True),
        "beta_mi": FloatDistribution(0.01, 10, log=True),
    },
    first=[{}],  # ITRD's defaults: the values that are assumed above
    references=[Vanilla, partial(KD, temperature=1.0, alpha=0.5)],
    metric="val_top1",
    mode="max",
    trials=16,
    cohort=4,
    epochs=100,
    batch_size=256,
    optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
    milestones=(30, 60, 90),
    smoke={
        "data": sample_imagenet,
        "teacher": resnet34,
        "teacher_recipe": Recipe(epochs=1),
        "epochs": 2,
        "batch_size": 16,
        "trials": 2,
        "cohort": 2,
    },
)

if __name__ == "__main__":
    study.main()
