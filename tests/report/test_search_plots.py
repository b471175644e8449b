import itertools
import random
import warnings

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from raykd.report import plots, search_plots
from raykd.report.results import Results


def found(study):
    results = Results(study)
    return results, search_plots.searched(results), plots.lines(results.compared())


def test_a_trial_of_optuna_is_a_setting_with_its_mean(made, tmp_path):
    results, view, _ = found(made.replicated(tmp_path))
    assert len(view.first.trials) == 9
    assert view.parameters == ["alpha", "beta_corr", "beta_mi"]
    assert view.first.best_value == pytest.approx(results.ranked()[0].mean("val_top1"))


def test_history_holds_trials_and_reference_lines(study):
    results, view, lines = found(study)
    figure = search_plots.history(results, view, lines)
    assert [t.name for t in figure.data][:2] == ["trials", "best so far"]
    across = {trace.name: set(trace.y) for trace in figure.data[2:]}
    assert across["teacher"] == {0.9412}
    assert across["plain student"] == {0.7312}
    assert "ITRD, paper&#x27;s setting" in across


def test_importance_finds_what_matters(study):
    _, view, _ = found(study)
    [bars] = search_plots.importance(view).data
    shares = dict(zip(bars.y, bars.x, strict=True))
    assert max(shares, key=shares.get) == "beta_corr"
    assert sum(shares.values()) == pytest.approx(1)


def test_importance_says_why_there_is_none(made, tmp_path):
    _, one, _ = found(made.one_parameter(tmp_path / "a"))
    assert "at least two that were searched" in search_plots.importance(one)
    _, few, _ = found(made.constant(tmp_path / "b"))
    assert "at least 10 trials that have ended; there are 6" in search_plots.importance(few)
    same = [
        record
        for n in range(12)
        for record in made.whole(
            f"{n:04d}", n, {"alpha": 1 + n / 20, "beta_corr": 1.0 + n, "beta_mi": 1.0}, [0.5]
        )
    ]
    _, alike, _ = found(made.write(tmp_path / "c", same))
    assert "too much alike" in search_plots.importance(alike)


def test_importance_counts_what_was_dropped_as_the_worst(made, tmp_path):
    def trial(n):
        config = {"alpha": 1 + (n * 7 % 12) / 20, "beta_corr": 0.1 * 1.5**n, "beta_mi": 1.0 + n % 3}
        done = n < 6
        state, values = ("COMPLETE", [0.5, 0.9 - n / 50]) if done else ("PRUNED", [0.99])
        return made.whole(f"{n:04d}", n, config, values, state=state)

    records = [record for n in range(12) for record in trial(n)]
    _, view, _ = found(made.write(tmp_path, records))
    assert len(view.values) == 6
    [bars] = search_plots.importance(view).data
    shares = dict(zip(bars.y, bars.x, strict=True))
    assert max(shares, key=shares.get) == "beta_corr"


def test_parallel_coordinates_draw_the_best_last_and_bluest(study):
    results, view, _ = found(study)
    figure = search_plots.parallel_coordinates(results, view)
    *traces, _ = figure.data
    assert len(traces) == 21
    heights = [trace.y[0] for trace in traces]
    assert heights == sorted(heights)
    assert traces[-1].line.color == "rgb(31, 119, 208)"
    assert traces[0].line.width < traces[-1].line.width
    assert "85.6%" in [label.text for label in figure.layout.annotations]


def test_parallel_coordinates_of_a_loss_draw_the_smallest_last(made, tmp_path):
    records = [*made.references(), *made.search(8)]
    results, view, _ = found(made.write(tmp_path, records, metric=["val_loss"], mode=["min"]))
    *traces, _ = search_plots.parallel_coordinates(results, view).data
    assert traces[-1].y[0] == 0


CHOICES = {
    "numbers": CategoricalDistribution([64, 4, 16]),  # Optuna reorders the lines by their value
    "decimals": CategoricalDistribution([0.5, 10, 0.001]),
    "texts": CategoricalDistribution(["layer3", "None", "[red]x"]),
    "mixed": CategoricalDistribution([None, True, "a"]),
    "booleans": CategoricalDistribution([True, False]),
    "log": FloatDistribution(0.001, 10, log=True),
    "whole": IntDistribution(1, 9),
    "fixed": CategoricalDistribution([3]),
}


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("metric", ["val_top1", "val_loss"])
def test_every_line_of_parallel_coordinates_has_the_colour_of_its_own_trial(
    made, tmp_path, metric, mode
):
    dice, records, values = random.Random(3), [], {}
    named = ("numbers", "decimals", "texts")  # these tell the trials apart
    settings = list(itertools.product(*(CHOICES[name].choices for name in named)))
    for number, setting in enumerate(dice.sample(settings, 12)):
        others = {
            name: dice.choice(item.choices) if hasattr(item, "choices") else 1 + dice.randrange(8)
            for name, item in CHOICES.items()
        }
        config, value = {**others, **dict(zip(named, setting, strict=True))}, dice.random()
        records += made.whole(f"{number:04d}", number, config, [value])
        values[tuple(map(str, setting))] = value if metric == "val_top1" else 4 * (1 - value)
    study = made.write(tmp_path, records, space=CHOICES, metric=[metric], mode=[mode])
    results, view, _ = found(study)
    *traces, _ = search_plots.parallel_coordinates(results, view).data
    assert len(traces) == 12
    low, high = min(values.values()), max(values.values())
    for trace in traces:
        said = dict(trace.customdata)
        value = values[tuple(said[name] for name in named)]
        place = (value - low) / (high - low)
        assert trace.y[0] == pytest.approx(place)
        goodness = place if mode == "max" else 1 - place
        assert trace.line.width == pytest.approx(1 + 1.5 * goodness**3)
    assert traces[-1].line.color == "rgb(31, 119, 208)"
    widths = [trace.line.width for trace in traces]
    assert widths == sorted(widths)


def test_many_trials_are_cut_to_the_best(study, monkeypatch):
    monkeypatch.setattr(search_plots, "MOST_LINES", 5)
    results, view, _ = found(study)
    assert len(search_plots.parallel_coordinates(results, view).data) == 5 + 1


def test_slices_have_a_figure_a_parameter_with_reference_lines(study):
    results, view, lines = found(study)
    figures = search_plots.slices(results, view, lines)
    assert [figure.layout.xaxis.title.text for figure in figures] == view.parameters
    assert {shape.y0 for shape in figures[0].layout.shapes} >= {0.7312, 0.8203}
    assert figures[1].layout.xaxis.type == "log"
    assert {0.1, 1, 10} <= set(figures[1].layout.xaxis.tickvals)


def test_front_of_two_objectives(made, tmp_path):
    results, view, _ = found(made.several(tmp_path))
    beaten, front = search_plots.pareto_front(results, view).data
    assert (len(front.x), len(beaten.x)) == (3, 18)


@pytest.mark.parametrize(
    "name", ["one", "none_complete", "empty", "no_space", "one_parameter", "constant", "hostile"]
)
def test_small_and_odd_studies_warn_of_nothing(made, tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results, view, lines = found(getattr(made, name)(tmp_path))
        search_plots.history(results, view, lines)
        search_plots.importance(view)
        search_plots.parallel_coordinates(results, view)
        figures = search_plots.slices(results, view, lines)
    assert len(figures) == len(view.parameters)
