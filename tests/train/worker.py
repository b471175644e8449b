"""One of several workers that teach the same cohorts: `worker.py FOLDER RANK WORLD`."""

import json
import sys
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from networks import Plain, classroom, network
from torch import Tensor, nn

from raykd.data import Batch
from raykd.data.synthetic import Synthetic
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models import Output
from raykd.train import workers
from raykd.train.cohort import Cohort, Member
from raykd.train.loop import Row
from raykd.train.recipe import Recipe


class Matching(Vanilla):
    """Matches features in the first half, when the head has nothing to learn."""

    def schedule(self, progress: float) -> None:
        self.matches = progress < 0.5

    def forward(self, s: Output, t: Output, batch: Batch) -> dict[str, Tensor]:
        if self.matches:
            return {"match": (s.pooled - t.pooled[:, :4]).square().mean()}
        return super().forward(s, t, batch)


@dataclass(frozen=True)
class Case:
    """What is taught; by default on data whose last batch has 3 samples of 16."""

    methods: tuple[type, ...] = (Vanilla, KD)
    student: Any = Plain
    data: dict[str, int] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    stop: int | None = None


CASES = {
    "means": Case((Vanilla, KD, Matching)),
    "equal shares": Case(data={"samples": 80}),
    "parts": Case(recipe={"accumulate": 4}),
    "clipped": Case(recipe={"clip": 0.1}),
    "unused head": Case((Matching,), recipe={"accumulate": 2}),
    "few to test": Case(data={"tests": 1}),
    "batch norm": Case(student=partial(network, 4)),
    "stopped": Case((Vanilla, KD, Matching), stop=2),
}


def teach(case: Case, root: Path, rank: int = 0, world: int = 1) -> list[Row]:
    sizes = {"samples": 84, "tests": 15, **case.data}
    stream = {"batch_size": 16, "rank": rank, "world": world}
    cohort = replace(
        classroom(str(root)),
        members=[Member(method.__name__, method) for method in case.methods],
        student=case.student,
        data=Synthetic(classes=4, shape=(1, 8, 8), **sizes, **stream),
        recipe=Recipe(epochs=4, milestones=(3,), **case.recipe),
        rank=rank,
        wrap=workers.join if world > 1 else alone,
    )
    if case.stop:
        for _ in islice(cohort.run(), case.stop):
            pass
    return finish(cohort)


def alone(module: nn.Module) -> nn.Module:
    return module


def finish(cohort: Cohort) -> list[Row]:
    return [row for rows in cohort.run() for row in rows]


def main(folder: Path, rank: int, world: int) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    told = {}
    for name, case in CASES.items():
        rows = teach(case, folder / name, rank, world)
        told[name] = [asdict(row) for row in rows]
        dist.barrier()
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
