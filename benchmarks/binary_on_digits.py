"""Compares a binary ResNet-20 with and without ITRD on digits, with several seeds, equal budget.

The binary network of ReCU (Xu et al., ICCV 2021) is trained alone, with KD, with ITRD and with
both. Its teacher is a full-precision ResNet-20. The data are scikit-learn's digits of 8×8 pixels;
the optimizer is AdamW with one learning rate cycle, batch size 64, one thread. The benchmark prints
the mean ± standard deviation over the seeds of the test accuracy after the last epoch.

    python benchmarks/binary_on_digits.py [--seeds 3] [--epochs 20]
"""

import argparse
import tempfile
from functools import partial
from statistics import fmean, stdev

import torch
from torch.optim import AdamW

from raykd.data.digits import Digits
from raykd.methods import Method
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.recu import resnet20_1w1a
from raykd.models.resnet import resnet20
from raykd.store import Folder
from raykd.train.artefact import Artefacts
from raykd.train.cohort import Cohort, Member
from raykd.train.pretrain import Source, record
from raykd.train.recipe import Recipe
from raykd.train.teacher import Teacher

METHODS: dict[str, type[Method]] = {
    "binary alone": Vanilla,
    "binary, KD": KD,
    "binary, ITRD": ITRD,
    "binary, ITRD + KD": ITRD + KD,
}


def run(seed: int, epochs: int, folder: Folder) -> dict[str, float]:
    """Returns the test accuracy of the teacher and of each student."""
    data = Digits(seed=seed)
    adam = partial(AdamW, lr=0.01, weight_decay=0.01, fused=True)
    recipe = Recipe(epochs, optimizer=adam, schedule="onecycle")
    device = torch.device("cpu")
    full = partial(resnet20, num_classes=10, in_channels=1)
    source = Source(full, {**data.describe(), "batch_size": 64}, recipe, seed=seed)
    for _ in source.train(folder, data, device):
        pass
    teacher = source.load(folder)
    cohort = Cohort(
        name=f"c{seed}",
        members=[Member(name, method, seed=seed) for name, method in METHODS.items()],
        student=partial(resnet20_1w1a, num_classes=10, in_channels=1),
        teacher=Teacher(teacher),
        data=data,
        recipe=recipe,
        folder=folder.sub(f"seed{seed}"),
        artefact=Artefacts(folder),
        device=device,
    )
    *_, last = cohort.run()
    students = {row.trial: row.metrics["test_top1"] for row in last}
    return {"full-precision teacher": record(teacher, data)["test_top1"], **students}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        runs = [run(seed, options.epochs, Folder(root)) for seed in range(options.seeds)]
    print(f"| network | test accuracy, {options.seeds} seeds, {options.epochs} epochs |")
    print("| --- | --- |")
    for name in runs[0]:
        values = [100 * taught[name] for taught in runs]
        print(f"| {name} | {fmean(values):.1f} ± {stdev(values):.1f} % |")
