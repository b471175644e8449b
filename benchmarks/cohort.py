"""Compares the time of a cohort of 8 students with that of 8 single runs of the same students.

Both give the same losses; the cohort runs the teacher and reads the data once. Two teacher-student
pairs are trained on synthetic 32×32 images: the ResNets of the glyphs study, and the paper's
ResNet-56 and ResNet-20. One process with one thread runs the single runs and the cohort in turn;
the minimum over the rounds is compared.

    python benchmarks/cohort.py [--students 8] [--rounds 2] [--images 256]
"""

import argparse
import math
import tempfile
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from raykd.data.synthetic import Synthetic
from raykd.methods.itrd import ITRD
from raykd.models.resnet import resnet8w6, resnet8w24, resnet20, resnet56
from raykd.store import Folder
from raykd.train.artefact import Artefacts
from raykd.train.cohort import Cohort, Member
from raykd.train.recipe import Recipe
from raykd.train.teacher import Teacher

PAIRS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "resnet8w24 → resnet8w6": (resnet8w24, resnet8w6),
    "resnet56 → resnet20": (resnet56, resnet20),
}


def train(
    members: list[Member], teacher: Teacher, student: Callable[[], nn.Module], data: Synthetic
) -> tuple[float, dict[str, float]]:
    """Trains one epoch and returns its time in seconds and the final loss of each trial."""
    with tempfile.TemporaryDirectory() as root:
        folder = Folder(root)
        cohort = Cohort(
            "bench",
            members,
            student,
            teacher,
            data,
            Recipe(epochs=1),
            folder,
            Artefacts(folder),
            torch.device("cpu"),
        )
        [rows] = cohort.run()
    return rows[0].metrics["seconds"], {row.trial: row.metrics["train_loss"] for row in rows}


def compare(pair: str, students: int, rounds: int, images: int) -> None:
    make_teacher, make_student = PAIRS[pair]
    data = Synthetic(classes=100, samples=images, tests=100, validation=0.2, batch_size=64)
    torch.manual_seed(0)
    teacher = Teacher(make_teacher(100, 3))
    student = partial(make_student, 100, 3)
    members = [Member(f"{i}", partial(ITRD, beta_corr=0.5 + i)) for i in range(students)]
    alone = together = math.inf
    train(members[:1], teacher, student, data)
    for _ in range(rounds):
        seconds, single = 0.0, dict[str, float]()
        for member in members:
            took, loss = train([member], teacher, student, data)
            seconds, single = seconds + took, {**single, **loss}
        took, joint = train(members, teacher, student, data)
        assert joint == single, "a trial's numbers differ between alone and together"
        alone, together = min(alone, seconds), min(together, took)
    print(f"| {pair} | {students} | {alone / together:.2f} | identical |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=320)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| pair | students | single runs / cohort, wall time | losses |")
    print("| --- | --- | --- | --- |")
    for pair in PAIRS:
        compare(pair, options.students, options.rounds, options.images)
