#!/usr/bin/env python3
"""Trains all methods on one glyphs pair with an equal budget: the table of docs/methods.md.

The teacher is a ResNet-8 of 24-48-96 channels, the student one of 6-12-24. All students of a seed
are one cohort: they have the same initial weights, the same batches and one teacher pass. The noise
method sees no image and is trained on as many noise samples. With one thread it takes three
quarters of an hour; if it is interrupted, the same command continues it.

    python benchmarks/methods_on_glyphs.py [--seeds 3] [--epochs 5] [--results results/methods]

It prints the table, writes it into docs/methods.md, and writes its rows into
docs/data/methods_on_glyphs.json. With `--only` it trains the plain student and some methods, with
other hyperparameters or more epochs, and only prints the table:

    python benchmarks/methods_on_glyphs.py --seeds 1 --epochs 12 --only at at,beta=100 srm
"""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.optim import AdamW

from raykd.data import Data
from raykd.data.glyphs import Glyphs
from raykd.data.noise import Noise as NoiseData
from raykd.methods import Method, find, names
from raykd.models.resnet import resnet8w6, resnet8w24
from raykd.modules.batch_statistics import on_batch_statistics
from raykd.store import Folder
from raykd.train.artefact import Artefacts
from raykd.train.cohort import Cohort, Member
from raykd.train.loop import Row
from raykd.train.pretrain import Source, record
from raykd.train.recipe import Recipe
from raykd.train.student import Student
from raykd.train.teacher import Teacher

DOCS = Path(__file__).parents[1] / "docs"
CPU = torch.device("cpu")
TEACHER = partial(resnet8w24, in_channels=1)
STUDENT = partial(resnet8w6, in_channels=1)
SOME, BATCH = partial(Glyphs, images=3600), 32
TEACHER_RECIPE = Recipe(
    epochs=10,
    optimizer=partial(AdamW, lr=0.015, weight_decay=0.01, fused=True),
    schedule="onecycle",
)
NEGATIVES = 1049
"""Number of negatives: the same share of 3,200 images as 16,384 are of CIFAR's 50,000."""


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        method: Its name.
        config: What is not the method's default.
        balanced: Whether the weights were set so that the gradient of the method's terms is about
            as large as that of the cross-entropy when training starts.
    """

    method: str
    config: dict[str, Any] = field(default_factory=dict)
    balanced: bool = False

    @property
    def make(self) -> Callable[..., Method]:
        """Makes the method."""
        return partial(find(self.method), **self.config)

    @property
    def label(self) -> str:
        """Name of the trial."""
        told = "-".join(f"{key}-{value}" for key, value in self.config.items())
        return f"{self.method}-{told}" if told else self.method


STAGES: dict[str, dict[str, Any]] = {  # earlier stages and banks at the size of this data
    "ft": {"paraphraser_epochs": 2},
    "srm": {"dictionary_epochs": 2},
    "crd": {"negatives": NEGATIVES},
    "wcord": {"negatives": NEGATIVES},
}
ENTRIES = [
    *(Entry(name, STAGES.get(name, {})) for name in names() if name != "noise"),
    Entry("itrd+kd"),
    Entry("crd+kd", {"crd_negatives": NEGATIVES}),
    Entry("srrl", {"classifier": "cross_entropy"}),
]
BALANCED = [  # of the methods that teach less than the labels alone: see docs/methods.md
    Entry("at", {"beta": 30.0}, balanced=True),
    Entry("crd", {"beta": 0.2, **STAGES["crd"]}, balanced=True),
    Entry("ft", {"beta": 10.0, **STAGES["ft"]}, balanced=True),
    Entry("rkd", {"beta_distance": 1.0, "beta_angle": 2.0}, balanced=True),
    Entry("srm", {"matching": 0.25, **STAGES["srm"]}, balanced=True),
]
NOISE, ON_BATCH = Entry("noise"), "noise-batch-statistics"


def glyphs(seed: int) -> Glyphs:
    return SOME(batch_size=BATCH, seed=seed)


def taught(folder: Folder) -> nn.Module:
    """Returns the teacher of all seeds, and trains it if it is not stored."""
    data = glyphs(0)
    source = Source(TEACHER, data.describe(), TEACHER_RECIPE)
    if not source.ready(folder):
        for row in source.train(folder, data, CPU):
            print(f"teacher, epoch {row.epoch}: {row.metrics['val_top1']:.4f}", flush=True)
    return source.load(folder)


@dataclass(frozen=True)
class Classroom:
    """Data, teacher and recipe that all students share; `folder` has checkpoints and artefacts."""

    teacher: Teacher
    recipe: Recipe
    folder: Folder

    def artefacts(self, data: Data) -> Artefacts:
        """Keeps artefacts of earlier stages, such as paraphrasers."""
        return Artefacts(self.folder, {"teacher": self.teacher.digest, "data": data.describe()})

    def teach(self, name: str, methods: dict[str, Entry], seed: int, data: Data) -> Iterator[Row]:
        """Yields the last row of each of the methods, by trial."""
        members = [Member(trial, entry.make, seed=seed) for trial, entry in methods.items()]
        place = (self.folder.sub(f"{self.recipe.epochs}-epochs"), self.artefacts(data), CPU)
        cohort = Cohort(name, members, STUDENT, self.teacher, data, self.recipe, *place)
        last: dict[str, Row] = {}
        for rows in cohort.run():
            last |= {row.trial: row for row in rows}
            print(f"{name}, epoch {rows[0].epoch}: {rows[0].metrics['seconds']:.0f} s", flush=True)
        yield from last.values()

    def cohorts(self, name: str, entries: list[Entry], seeds: int) -> Iterator[dict[str, Any]]:
        """Yields one row for each student: its method, hyperparameters and final metrics."""
        for seed in range(seeds):
            methods = {f"{entry.label}-s{seed}": entry for entry in entries}
            for row in self.teach(f"{name}-s{seed}", methods, seed, glyphs(seed)):
                yield told(methods[row.trial].label, methods[row.trial], seed, row)

    def without_data(self, seeds: int) -> Iterator[dict[str, Any]]:
        """Yields the rows of students of noise, each evaluated in two ways."""
        for seed in range(seeds):
            data, trial = glyphs(seed), f"noise-s{seed}"
            noise = NoiseData(real=SOME, samples=len(data), batch_size=BATCH, seed=seed)
            [row] = self.teach(f"on-{trial}", {trial: NOISE}, seed, noise)
            yield told("noise", NOISE, seed, row)
            weights = f"{self.recipe.epochs}-epochs/{trial}/last.safetensors"
            model = STUDENT()
            model.load_state_dict(load(self.folder.read(weights)))
            metrics = row.metrics | record(on_batch_statistics(model), data)
            yield told(ON_BATCH, NOISE, seed, replace(row, metrics=metrics))

    def students(self, entries: list[Entry]) -> dict[str, Student]:
        """Returns untrained students of the same initial weights, by their entries' labels."""
        data = glyphs(0)
        t = self.teacher.model(example := torch.zeros(2, *data.shape))
        steps = len(data) // BATCH
        made = {}
        for entry in entries:
            student = Student(entry.label, STUDENT, entry.make, example, t, self.recipe, steps)
            student.loss.method.prepare(self.teacher.model, data, self.artefacts(data))
            made[entry.label] = student
        return made

    def pulls(self, entries: list[Entry]) -> dict[str, dict[str, tuple[float, float]]]:
        """Returns the gradients of the weighted terms on the student's weights at the start.

        Returns for each label and term the length, and the cosine with the cross-entropy's: means
        over three batches.
        """
        batches = [batch for batch, _ in zip(glyphs(0).train(0), range(3), strict=False)]
        students = self.students([Entry("vanilla"), *entries])
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for batch in batches:
            t = self.teacher(batch)
            labels = None
            for label, student in students.items():
                student.begin(0)
                terms, _ = student.loss(batch, t)
                weights = list(student.model.parameters())
                for name, term in terms.items():
                    pull = flat(term, weights)
                    labels = pull if labels is None else labels
                    if not (length := float(pull.norm())):
                        continue  # a ramp that starts at 0
                    cosine = float(pull @ labels) / length / float(labels.norm())
                    found.setdefault(label, {}).setdefault(name, []).append((length, cosine))
        return {
            label: {
                name: (mean(a for a, _ in v), mean(b for _, b in v)) for name, v in terms.items()
            }
            for label, terms in found.items()
        }

    def step_seconds(self, entries: list[Entry]) -> dict[str, float]:
        """Returns the processor time of a student's step alone, and that of the teacher.

        The teacher's pass is not counted, and what a cohort shares of the teacher's side is.
        """
        batches = [batch for batch, _ in zip(glyphs(0).train(0), range(4), strict=False)]
        students = self.students(entries)
        spent = dict.fromkeys(["teacher", *students], 0.0)
        for epoch in range(self.recipe.epochs):
            for student in students.values():
                student.begin(epoch)
            for i, batch in enumerate(batches):
                start = time.process_time()
                t = self.teacher(batch)
                spent["teacher"] += (time.process_time() - start) * (i > 0)
                for label, student in students.items():
                    own = t.map(lambda tensor: tensor)  # remembers nothing of the others
                    start = time.process_time()
                    student.step(batch, own)
                    spent[label] += (time.process_time() - start) * (i > 0)
        steps = self.recipe.epochs * (len(batches) - 1)
        return {label: seconds / steps for label, seconds in spent.items()}


def flat(term: Tensor, weights: list[nn.Parameter]) -> Tensor:
    """Returns the gradient of a term as one vector."""
    parts = torch.autograd.grad(term, weights, retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def told(label: str, entry: Entry, seed: int, row: Row) -> dict[str, Any]:
    """Returns a student as JSON-serialisable values; accuracies are in [0, 1]."""
    kept = ("val_top1", "test_top1", "val_loss", "test_loss", "train_top1", "train_loss")
    losses = [name for name in row.metrics if name.startswith("loss_")]
    return {
        "label": label,
        "step": entry.label,
        "method": entry.method,
        "config": entry.config,
        "balanced": entry.balanced,
        "seed": seed,
        "epoch": row.epoch,
        "state": row.state,
        **{name: round(row.metrics.get(name, math.nan), 6) for name in (*kept, *losses)},
    }


def table(result: dict[str, Any]) -> str:
    """Returns the table as Markdown, best validation accuracy first."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault(row["label"], []).append(row)
    teacher, times = result["teacher"], result["step_seconds"]
    alone = {row["seed"]: row["test_top1"] for row in groups["vanilla"]}
    lines = [
        "| method | not default | validation | test | test, over plain | step |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| *teacher* | | {spread([teacher['val_top1']])} | {spread([teacher['test_top1']])} | |"
        f" {times['teacher'] / times['vanilla']:.2f} (forward) |",
    ]
    for group in sorted(groups.values(), key=lambda rows: -mean(r["val_top1"] for r in rows)):
        cost = times[group[0]["step"]] / times["vanilla"]
        lines.append(f"| {' | '.join([*cells(group, alone), f'{cost:.2f}'])} |")
    return "\n".join(lines)


def cells(group: list[dict[str, Any]], alone: dict[int, float]) -> list[str]:
    """Returns the row of the table for the replicates of one setting."""
    one = group[0]
    name = "*plain student*" if one["method"] == "vanilla" else one["method"]
    config = ", ".join(f"`{key}={value}`" for key, value in one["config"].items())
    failed = sum(row["state"] == "FAIL" for row in group)
    return [
        name + " †" * one["balanced"],
        config + "evaluated on batch statistics" * (one["label"] == ON_BATCH),
        spread([row["val_top1"] for row in group]),
        spread([row["test_top1"] for row in group]) + f", {failed} diverged" * bool(failed),
        spread([row["test_top1"] - alone[row["seed"]] for row in group], "+.2f"),
    ]


def spread(values: list[float], form: str = ".2f") -> str:
    """Returns the mean ± standard deviation (n − 1), in percent."""
    deviation = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):{form}}{deviation}"


def pulls_table(pulls: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Returns the gradients as Markdown, longest first, with one of the equal cross-entropies."""
    rows = [
        (length, cosine, label, term)
        for label, terms in pulls.items()
        for term, (length, cosine) in terms.items()
        if label == "vanilla" or term != "ce"
    ]
    lines = ["| method | term | length | cosine |", "| --- | --- | --- | --- |"]
    lines += [f"| {m} | {term} | {n:.2g} | {c:.2f} |" for n, c, m, term in sorted(rows)[::-1]]
    return "\n".join(lines)


def put(text: str, name: str) -> None:
    """Replaces a table in docs/methods.md."""
    page, begin, end = DOCS / "methods.md", f"<!-- {name} -->", "<!-- end -->"
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


def asked(text: str) -> Entry:
    """Parses `<method>,<name>=<JSON>,…`."""
    name, *settings = text.split(",")
    pairs = (setting.partition("=") for setting in settings)
    return Entry(name, STAGES.get(name, {}) | {key: json.loads(value) for key, _, value in pairs})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--results", default="results/methods", help="folder of the checkpoints")
    parser.add_argument("--only", nargs="+", type=asked, help="methods, each with its settings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    adam = partial(AdamW, lr=0.04, weight_decay=0.01, fused=True)
    recipe = Recipe(options.epochs, optimizer=adam, schedule="onecycle")
    model = taught(folder := Folder(options.results))
    room = Classroom(Teacher(model), recipe, folder)
    if options.only:
        entries = [Entry("vanilla"), *options.only]
        name = hashlib.sha256(repr(entries).encode()).hexdigest()[:8]
        rows = list(room.cohorts(name, entries, options.seeds))
    else:
        entries = [*ENTRIES, *BALANCED, NOISE]
        rows = list(room.cohorts("defaults", ENTRIES, options.seeds))
        rows += room.cohorts("balanced", BALANCED, options.seeds)
        rows += room.without_data(options.seeds)
    result: dict[str, Any] = {
        "teacher": record(model, glyphs(0)),
        "teacher_recipe": TEACHER_RECIPE.describe(),
        "recipe": recipe.describe(),
        "data": glyphs(0).describe(),
        "torch": torch.__version__,
        "step_seconds": room.step_seconds(entries),
        "pulls": room.pulls([entry for entry in entries if entry is not NOISE]),
        "rows": rows,
    }
    print(table(result), pulls_table(result["pulls"]), sep="\n\n")
    if not options.only:
        put(table(result), "methods_on_glyphs")
        put(pulls_table(result["pulls"]), "pulls")
        place = DOCS / "data" / "methods_on_glyphs.json"
        place.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
