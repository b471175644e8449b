#!/usr/bin/env python3
"""All methods of table 1 on CIFAR-100 (Miles et al., BMVC 2022), beside the published numbers.

Each pair is a study without a search: its methods are trained side by side, with the CRD
benchmark's loss weights and 3 seeds each, by the official recipe of 240 epochs. A tenth of the
training set is held out, so that students see 45,000 images. The accuracies are those on the test
set after the last epoch. The published table mixes protocols; its rows say which.

    python studies/cifar100_methods.py --data FOLDER [--pairs PAIR,PAIR] [--methods NAME,NAME]

By default it runs all 13 pairs and the methods of the table. Each pair has 18 students x 3 seeds,
some 10 hours on one GPU at an assumed 4 ms a step, without the teacher's training. Other models and
methods of raykd can be named too; they have no published numbers. On a laptop, in half an hour:

    python studies/cifar100_methods.py --data glyphs --pairs resnet8w24/resnet8w6 --epochs 8
"""

import argparse
from collections.abc import Callable
from functools import partial

from torch.optim import SGD

from raykd import methods, models
from raykd.data.cifar import CIFAR100
from raykd.data.samples import sample_cifar100
from raykd.methods import Method
from raykd.methods.crd import CRD
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.reviewkd import ReviewKD
from raykd.report.comparison import beside
from raykd.report.published import cifar100
from raykd.report.results import Contender, Results
from raykd.store import Study as Stored
from raykd.study import Study
from raykd.terminal import Console
from raykd.train.recipe import Recipe

Contenders = dict[str, Contender]
PAIRS = tuple(cifar100()["kd"].top1)
METHODS = tuple(name for name in cifar100() if name != "teacher")
SMOKE_PAIRS, SMOKE_METHODS = ("resnet56/resnet20",), ("vanilla", "kd", "crd+kd", "l_corr", "itrd")
REVIEW = {  # the published weights that are not ReviewKD's default
    "resnet56/resnet20": 0.6,
    "resnet110/resnet20": 0.6,  # assumed: the same student's
    "resnet110/resnet32": 1.0,
    "resnet32x4/shufflenetv2": 8.0,
}
EPOCHS, MILESTONES = 240, (150, 180, 210)
sgd = partial(SGD, lr=0.05, momentum=0.9, weight_decay=5e-4)


def method(name: str, pair: str) -> Callable[..., Method]:
    """Returns a method of the table with the hyperparameters that the paper uses for a pair."""
    teacher, student = pair.split("/")
    itrd = partial(ITRD, alpha=1.01 if teacher[:3] == student[:3] else 1.50)  # one family, or two
    both: Callable[..., Method] = CRD + KD
    special: dict[str, Callable[..., Method]] = {
        "itrd": itrd,
        "l_corr": partial(itrd, beta_mi=0.0),
        "crd+kd": partial(both, kd_alpha=1.0),
        "reviewkd": partial(ReviewKD, beta=REVIEW.get(pair, 5.0)),
    }
    return special.get(name) or methods.find(name)


def study(pair: str, names: tuple[str, ...] = METHODS) -> Study:
    """Returns the study of one pair: the last method is its method, the others its references."""
    teacher, _, student = pair.partition("/")
    *references, last = [method(name, pair) for name in names]
    small = student.startswith(("mobilenet", "shufflenet"))
    return Study(
        name=f"cifar100_methods-{teacher}-{student}",
        data=partial(CIFAR100, root="data"),
        teacher=models.find(teacher),
        student=models.find(student),
        method=last,
        references=references,
        trials=1,
        seeds=3,
        epochs=EPOCHS,
        batch_size=64,
        optimizer=partial(sgd, lr=0.01) if small else sgd,
        milestones=MILESTONES,
        teacher_recipe=Recipe(epochs=EPOCHS, optimizer=sgd, milestones=MILESTONES),
        smoke={
            "data": sample_cifar100,
            "teacher_recipe": Recipe(epochs=1, optimizer=partial(sgd, lr=1e-3)),
            "optimizer": partial(sgd, lr=1e-3),  # a teacher of so few steps has large features
            "epochs": 1,
            "batch_size": 16,
            "seeds": 1,
        },
    )


def main() -> None:
    """Runs the study of each pair, and shows the table so far after each."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Other options go to each pair's study: see studies/cifar100_itrd.py --help.",
    )
    parser.add_argument("--pairs", help="teacher/student, with commas between; default: all 13")
    parser.add_argument("--methods", help=f"default: {','.join(METHODS)}")
    parser.add_argument("--smoke", action="store_true", help="little of all on made-up data")
    options, others = parser.parse_known_args()
    pairs, names = (SMOKE_PAIRS, SMOKE_METHODS) if options.smoke else (PAIRS, METHODS)
    pairs = tuple(options.pairs.split(",")) if options.pairs else pairs
    names = tuple(options.methods.split(",")) if options.methods else names
    try:
        studies = {pair: study(pair, names) for pair in pairs}
    except ValueError as error:
        parser.error(str(error))
    found: dict[str, Contenders] = {}
    for pair, one in studies.items():
        beside_published = partial(show, study=one, pair=pair, names=names, found=found)
        one.main([*["--smoke"] * options.smoke, *others], after=beside_published)


def show(
    stored: Stored, study: Study, pair: str, names: tuple[str, ...], found: dict[str, Contenders]
) -> None:
    """Adds a pair's results to those before and shows all of them."""
    found[pair] = contenders(study, names, Results(stored))
    Console().show(beside(found))


def contenders(study: Study, names: tuple[str, ...], results: Results) -> Contenders:
    """Returns the results of the teacher and the methods, by name."""
    by_trial = {contender.name: contender for contender in results.contenders}
    ours = [*(by_trial[trial] for trial in study.named_references()), results.searched[0]]
    return {"teacher": by_trial["teacher"], **dict(zip(names, ours, strict=True))}


if __name__ == "__main__":
    main()
