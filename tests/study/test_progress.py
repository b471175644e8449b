"""What a running study shows, without one that runs."""

from collections.abc import Callable
from io import StringIO

from raykd.experiments.plan import CohortPlan, TrialPlan
from raykd.study import Study
from raykd.study.progress import Display
from raykd.terminal import Console
from raykd.train.loop import Row

PLAN = CohortPlan("0000", tuple(TrialPlan(f"000{n}", "search", "itrd", {}, n) for n in range(2)), 0)


def shown(study: Study, *values: float, terminal: bool = False, **fields: str) -> str:
    console = Console(file=StringIO(), force_terminal=terminal, width=200)
    rows = [Row(f"000{n}", 1, {"val_top1": value}, **fields) for n, value in enumerate(values)]
    with Display(study, console) as display:
        display.expect(2, 0)
        display.rows(PLAN, rows, fresh=2)
        display.say("the data /photos[v2] are not there")
    text: str = console.file.getvalue()
    return text


def test_reasons_are_shown_as_they_are(study: Callable[..., Study]) -> None:
    reason = "[/build/gloo/pair.cc:1] closed by peer [127.0.0.1]:1"
    for terminal in (False, True):
        text = shown(study(), 0.5, 0.4, terminal=terminal, state="FAIL", reason=reason)
        assert f"0001 fail: {reason}" in text
        assert "the data /photos[v2] are not there" in text


def test_what_failed_is_not_the_best(study: Callable[..., Study]) -> None:
    assert "best val_top1 0.5000" in shown(study(), 0.25, 0.5)
    failed = shown(study(), 0.25, 0.5, state="FAIL")
    assert "2 students, all failed" in failed
    assert "0.5000" not in failed
