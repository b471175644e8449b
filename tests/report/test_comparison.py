from io import StringIO

import pytest
from rich.console import Console

from raykd.report.comparison import beside
from raykd.report.results import Contender
from raykd.store import Trial

PAIR = "resnet56/resnet20"


def contender(method, *test, state="COMPLETE"):
    trials = [
        Trial(
            id=method if i == 0 else f"{method}-s{i}",
            number=-1,
            cohort="c0000",
            role="reference",
            method=method,
            seed=i,
            state=state,
            reason="",
            config={},
            metrics={"test_top1": value},
            best={},
            epoch=1,
            best_epoch=1,
            params=1,
            checkpoint="",
            cost={},
        )
        for i, value in enumerate(test)
    ]
    return Contender(method, tuple(trials))


def shown(ours):
    console = Console(width=120, record=True, file=StringIO())
    console.print(beside(ours))
    return console.export_text()


def row(text, label):
    [line] = [line for line in text.splitlines() if line.strip().startswith(f"{PAIR}  {label} ")]
    return line.removeprefix(f" {PAIR}  {label} ").split()


@pytest.fixture
def ours():
    return {
        PAIR: {
            "teacher": contender("teacher", 0.73),
            "kd": contender("kd", 0.70, 0.71, 0.72),
            "reviewkd": contender("reviewkd", 0.72, 0.72, 0.72),
            "itrd": contender("itrd", 0.73, 0.73, 0.73),
        }
    }


def test_published_beside_ours(ours):
    text = shown(ours)
    assert row(text, "KD") == ["71.00", "±", "1.00", "70.66"]
    assert row(text, "ITRD, L_corr + L_mi") == [
        *("73.00", "±", "0.00"),
        *("71.47", "±", "0.07"),
        *("+2.00", "+0.81"),
    ]
    assert "ReviewKD: Accuracy of the best epoch" in text
    assert "WCoRD:" not in text


def test_relative_improvement_over_the_same_pairs(ours):
    text = " ".join(shown(ours).split())
    published = 100 * (71.47 - 71.89) / (71.89 - 70.66)
    assert f"over ReviewKD: +100.00 %, published for the same pairs: {published:+.2f} %" in text


def test_what_failed_has_no_number(ours):
    ours[PAIR]["itrd"] = contender("itrd", 0.73, state="FAIL")
    text = shown(ours)
    assert row(text, "ITRD, L_corr + L_mi") == ["failed", *("71.47", "±", "0.07"), "+0.81"]
    assert "relative improvement" not in text


@pytest.mark.parametrize("lost", [{"state": "FAIL"}, {"state": "COMPLETE"}])
def test_nothing_is_over_a_baseline_without_a_number(ours, lost):
    ours[PAIR]["kd"] = contender("kd", float("nan"), **lost)
    text = shown(ours)
    assert row(text, "KD") == ["failed" if lost["state"] == "FAIL" else "none", "70.66"]
    assert row(text, "ReviewKD")[-2:] == ["71.89", "+1.23"]
    assert "nan" not in text
    assert "relative improvement" not in text


def test_pairs_and_methods_that_nobody_published():
    text = shown({"resnet8w24/resnet8w6": {"srm": contender("srm", 0.5)}})
    assert text.splitlines()[-1].split() == ["resnet8w24/resnet8w6", "srm", "50.00"]
