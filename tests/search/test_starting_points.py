"""What a study starts from where its space has been narrowed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from raykd.methods.itrd import ITRD
from raykd.search.space import contains
from raykd.search.starting_points import complete, left_out, nearest
from raykd.study import Study
from raykd.study.checks import check

Make = Callable[..., Study]
FLOAT = FloatDistribution(1.2, 2.0)


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (FLOAT, 1.5, 1.5),
        (FLOAT, 1.01, 1.2),
        (FLOAT, 7, 2.0),
        (FLOAT, float("inf"), 2.0),
        (FLOAT, float("nan"), 1.6),
        (FLOAT, None, 1.6),
        (FLOAT, "big", 1.6),
        (FloatDistribution(0.01, 1.0, log=True), 0.0, 0.01),
        (FloatDistribution(0.01, 1.0, log=True), None, pytest.approx(0.1)),
        (FloatDistribution(0.0, 1.0, step=0.25), 0.6, 0.5),
        (FloatDistribution(0.0, 1.0, step=0.25), 3, 1.0),
        (IntDistribution(4, 16, step=4), 1, 4),
        (IntDistribution(4, 16, step=4), 9.9, 8),
        (IntDistribution(1, 64, log=True), None, 8),
        (CategoricalDistribution([None, 2]), None, None),
        (CategoricalDistribution([2, 8, 32]), 10, 8),
        (CategoricalDistribution(["linear", "conv"]), "mlp", "linear"),
        (CategoricalDistribution(["linear", "conv"]), 3, "linear"),
        (CategoricalDistribution([True, False]), None, True),
    ],
)
def test_the_nearest_value(distribution: BaseDistribution, value: Any, expected: Any) -> None:
    found = nearest(distribution, value)
    assert found == expected
    assert contains(distribution, found)
    assert type(found) is int or not isinstance(distribution, IntDistribution)


def test_what_is_left_out_is_said() -> None:
    space = {"alpha": FLOAT, "beta": FloatDistribution(0.0, 1.0), "width": IntDistribution(1, 3)}
    defaults = {"alpha": 1.01, "beta": 0.5}
    [alpha, width] = left_out([{}], space, defaults)
    assert alpha.startswith("the default alpha=1.01 lies outside of the space")
    assert "starts from alpha=1.2" in alpha
    assert width.startswith("width has no default: the first trial starts from width=2")
    assert complete([{}], space, defaults) == ({"alpha": 1.2, "beta": 0.5, "width": 2},)


def test_nothing_is_said_where_every_first_setting_has_a_value_of_its_own() -> None:
    assert left_out([{"alpha": 1.5}], {"alpha": FLOAT}, {"alpha": 1.01}) == []
    assert left_out([], {"alpha": FLOAT}, {"alpha": 1.01}) == []


def test_a_study_may_be_narrowed_away_from_a_default(study: Make) -> None:
    narrowed = study(space={"alpha": FLOAT}, method=partial(ITRD, alpha=3.0))
    check(narrowed)
    assert narrowed.search_config(1).given == ({"alpha": 2.0},)
    [sentence] = narrowed.left_out()
    assert "alpha=3.0" in sentence


def test_a_first_setting_that_is_given_must_be_inside(study: Make) -> None:
    with pytest.raises(ValueError, match=r"the first setting has alpha=1.01, which lies outside"):
        check(study(space={"alpha": FLOAT}, first=[{}, {"alpha": 1.01}]))
