"""Published results, to stand beside ours. Every number is published unless a note says more."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any


@dataclass(frozen=True)
class Row:
    """One method of a published table.

    Attributes:
        label: As the paper calls it, corrected where the note says so.
        source: The publication.
        note: What keeps it from being compared as it stands; empty if nothing is known.
        top1: Test accuracy in % by pair, `teacher/student`; a pair may be missing.
        std: Standard deviation over the runs, where published.
    """

    label: str
    source: str
    note: str
    top1: Mapping[str, float]
    std: Mapping[str, float]


@cache
def cifar100() -> Mapping[str, Row]:
    """Table 1 of Miles et al. (BMVC 2022) and what the CRD benchmark adds, by raykd's names.

    Pairs are called as raykd's models. `teacher` and `vanilla` are the networks by themselves,
    `itrd` is the whole method and `l_corr` the method without its second loss. All are the mean
    of 3 runs.
    """
    told = json.loads(files("raykd.report").joinpath("cifar100.json").read_text("utf-8"))
    return {row["method"]: _row(row, told["pairs"], told["sources"]) for row in told["rows"]}


def relative_improvement(
    x: Mapping[str, float], y: Mapping[str, float], kd: Mapping[str, float]
) -> float:
    """How much more X gains on KD than Y does, in %: the mean of (X − Y) / (Y − KD) over pairs.

    This gives the figures of the paper's table 2; the formula in its footnote, (X − Y) / (X − KD),
    does not. Pairs that one of the three lacks are left out.

    Raises:
        ValueError: No pair has all three, or Y gains nothing at all on KD in one of them.
    """
    pairs = [pair for pair in x if pair in y and pair in kd]
    if not pairs:
        raise ValueError(
            "no pair has a number for all three methods; compare methods that share one"
        )
    level = [pair for pair in pairs if y[pair] == kd[pair]]
    if level:
        raise ValueError(
            f"the second method is level with KD for {', '.join(level)}, so there is no gain to"
            " compare with; leave the pair out"
        )
    return 100 * fmean((x[pair] - y[pair]) / (y[pair] - kd[pair]) for pair in pairs)


def _row(told: dict[str, Any], pairs: list[str], sources: dict[str, str]) -> Row:
    std = told.get("std", [None] * len(pairs))
    return Row(
        told["label"],
        sources[told["source"]],
        told.get("note", ""),
        _known(pairs, told["top1"]),
        _known(pairs, std),
    )


def _known(pairs: list[str], values: list[float | None]) -> dict[str, float]:
    return {p: value for p, value in zip(pairs, values, strict=True) if value is not None}
