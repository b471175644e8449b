"""Published results for comparison with ours; numbers are as published unless a note says more."""

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
        label: Name of the method in the paper, corrected if the note says so.
        source: Publication that the numbers come from.
        note: Reason why the numbers are not directly comparable; "" if none is known.
        top1: Test accuracy in percent by pair, `teacher/student`; a pair may be missing.
        std: Standard deviation over the runs in percentage points by pair, where published.
    """

    label: str
    source: str
    note: str
    top1: Mapping[str, float]
    std: Mapping[str, float]


@cache
def cifar100() -> Mapping[str, Row]:
    """Returns table 1 of Miles et al. (BMVC 2022) with additions from the CRD benchmark.

    The rows are keyed by raykd's names of the methods, and pairs have the names of raykd's models.
    `teacher` and `vanilla` are the teacher and the student without distillation, `itrd` is the
    whole method and `l_corr` the method without its second loss. All are means of 3 runs.
    """
    told = json.loads(files("raykd.report").joinpath("cifar100.json").read_text("utf-8"))
    return {row["method"]: _row(row, told["pairs"], told["sources"]) for row in told["rows"]}


def relative_improvement(
    x: Mapping[str, float], y: Mapping[str, float], kd: Mapping[str, float]
) -> float:
    """Returns the mean relative improvement over KD, in percent.

    It is the mean of (X − Y) / (Y − KD) over pairs: how much more X gains on KD than Y does. This
    formula reproduces table 2 of Miles et al. (BMVC 2022); the one in its footnote,
    (X − Y) / (X − KD), does not. Pairs that one of the three methods lacks are left out.

    Args:
        x: Test accuracy of method X by pair.
        y: Test accuracy of method Y by pair, in the same unit.
        kd: Test accuracy of KD by pair, in the same unit.

    Raises:
        ValueError: No pair has numbers for all three methods, or Y equals KD for a pair.
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
