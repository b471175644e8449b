import math

import pytest

from raykd.report import plots
from raykd.report.results import Results


def drawn(study):
    results = Results(study)
    lines = plots.lines(results.compared())
    return results, lines, plots.learning_curves(results, lines)


def test_every_row_of_the_comparison_has_its_own_colour(study):
    lines = plots.lines(Results(study).compared())
    assert len({line.colour for line in lines}) == len(lines) == 5


def test_a_given_setting_that_is_the_best_is_drawn_once(made, tmp_path):
    lines = plots.lines(Results(made.one(tmp_path)).compared())
    assert [line.kind for line in lines] == ["best"]


def test_curves_show_every_trial_and_mark_the_compared(study):
    _, lines, figure = drawn(study)
    named = {trace.name: trace for trace in figure.data}
    assert set(named) == {"other trials", *(line.label.replace("'", "&#x27;") for line in lines)}
    best = named["ITRD, best of 25 (0019)"]
    assert list(best.x) == list(range(1, 9))
    assert best.y[-1] == pytest.approx(study.best()[0].metrics["val_top1"])
    assert set(named["other trials"].text) == {f"{n:04d}" for n in range(1, 25)} - {"0019"}
    assert set(named["teacher"].y) == {0.9412}


def test_values_that_are_not_finite_are_gaps(made, tmp_path):
    _, _, figure = drawn(made.none_complete(tmp_path))
    faint = figure.data[0]
    assert not any(isinstance(y, float) and math.isnan(y) for y in faint.y)
    assert 0.3 in faint.y


def test_replicates_are_drawn_as_their_mean(made, tmp_path):
    results, _, figure = drawn(made.replicated(tmp_path))
    best = results.ranked()[0]
    trace = next(trace for trace in figure.data if "best of" in trace.name)
    assert trace.y[-1] == pytest.approx(best.mean("val_top1"))


def test_no_reports_at_all(made, tmp_path):
    _, _, figure = drawn(made.empty(tmp_path))
    assert figure == "There are no reports yet."
