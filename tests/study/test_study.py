"""What a study makes of its fields."""

from collections.abc import Callable
from functools import partial

import pytest
from optuna.distributions import CategoricalDistribution
from torch.optim import AdamW

from raykd.experiments.distillation import method_class, method_name
from raykd.experiments.plan import TrialPlan
from raykd.methods.itrd import ITRD
from raykd.methods.kd import KD
from raykd.methods.vanilla import Vanilla
from raykd.models.resnet import CifarResNet
from raykd.study import Study
from raykd.train.cohort import Objective
from raykd.train.component import Component
from raykd.train.halving import Halving

Make = Callable[..., Study]


def test_override_replaces_fields(study: Make) -> None:
    changed = study().override(name="other", trials=9)
    assert (changed.name, changed.trials, changed.space) == ("other", 9, study().space)
    assert study().name == "small"


def test_override_names_what_a_study_has(study: Make) -> None:
    with pytest.raises(ValueError, match="a study has no trails; it has name, data") as told:
        study().override(trails=3)
    assert "trials" in str(told.value)


def test_other_epochs_compress_the_schedule(study: Make) -> None:
    whole = study(epochs=200, milestones=(100, 150, 180), warmup=10, halving=Halving((60, 190)))
    short = whole.override(epochs=20)
    assert (short.epochs, short.milestones, short.warmup) == (20, (10, 15, 18), 1)
    assert short.halving == Halving((6, 19))
    longer = whole.override(epochs=400)
    assert (longer.milestones, longer.warmup) == ((200, 300, 360), 20)
    assert longer.halving == Halving((120, 380))


@pytest.mark.parametrize("epochs", range(1, 40))
@pytest.mark.parametrize("warmup", [0, 5, 30])
def test_any_number_of_epochs_gives_a_schedule(study: Make, epochs: int, warmup: int) -> None:
    whole = study(epochs=240, milestones=(40, 45, 235, 239), warmup=warmup, halving=Halving((239,)))
    short = whole.override(epochs=epochs)
    assert short.recipe.epochs == epochs
    assert all(warmup * epochs // 240 < mark < epochs for mark in short.milestones)
    assert short.halving
    assert all(rung < epochs for rung in short.halving.rungs)


def test_what_is_given_is_not_compressed(study: Make) -> None:
    whole = study(epochs=200, milestones=(100,), warmup=4)
    given = whole.override(epochs=20, milestones=(19,), warmup=3)
    assert (given.milestones, given.warmup) == ((19,), 3)
    assert whole.override(epochs=200, trials=2).milestones == (100,)


def test_one_objective_or_several(study: Make) -> None:
    assert (study().metrics, study().modes) == (("val_top1",), ("max",))
    several = study(metric=("val_loss", "params"), mode=("min", "min"))
    assert (several.metrics, several.modes) == (("val_loss", "params"), ("min", "min"))
    assert several.objective == Objective("val_loss", "min")


def test_the_recipe_has_the_studys_fields(study: Make) -> None:
    recipe = study(epochs=7, milestones=(3,), decay=0.5, clip=1.0, accumulate=2).recipe
    assert (recipe.epochs, recipe.milestones, recipe.decay) == (7, (3,), 0.5)
    assert (recipe.clip, recipe.accumulate) == (1.0, 2)


def test_the_question_that_optuna_is_asked(study: Make) -> None:
    made = study(first=[{}, {"alpha": 1.5}], seed=4, seeds=2, sampler="random", in_order=False)
    question = made.search_config(concurrent=3)
    assert question.given == ({"alpha": 1.01, "lr": 0.05}, {"alpha": 1.5, "lr": 0.05})
    assert [setting.trial for setting in question.references] == ["vanilla", "kd"]
    assert (question.trials, question.cohort, question.concurrent) == (5, 4, 3)
    assert (question.seed, question.replicates, question.method) == (4, 2, "itrd")
    assert (question.sampler, question.in_order, question.modes) == ("random", False, ("max",))


def test_no_more_settings_are_given_than_tried(study: Make) -> None:
    assert len(study(first=[{}, {}, {}], trials=2).search_config(1).given) == 2


def test_references_of_one_method_have_names_of_their_own(study: Make) -> None:
    twice = study(references=(KD, partial(KD, temperature=2.0), Vanilla))
    assert twice.search_config(1).references == (
        TrialPlan("kd", "reference", "kd"),
        TrialPlan("kd-2", "reference", "kd", {"temperature": 2.0}),
        TrialPlan("vanilla", "reference", "vanilla"),
    )


def test_a_partial_method_is_the_method_with_other_defaults(study: Make) -> None:
    method = partial(partial(ITRD, beta_corr=1.5), alpha=1.3)
    made = study(method=method)
    assert method_class(method) is ITRD
    assert method_name(method) == "itrd"
    assert Component.of(method).bound == {"beta_corr": 1.5, "alpha": 1.3}
    [given] = made.search_config(1).given
    assert given == {"alpha": 1.3, "lr": 0.05}


def test_defaults_come_from_the_partial_the_method_or_the_optimizer(study: Make) -> None:
    made = study(method=partial(ITRD, alpha=1.3), optimizer=partial(AdamW, lr=0.01))
    defaults = made.defaults()
    assert (defaults["alpha"], defaults["lr"], defaults["eps"]) == (1.3, 0.01, 1e-8)
    assert defaults["beta_mi"] == ITRD.hyperparameters()["beta_mi"]


def test_what_is_no_method_is_refused() -> None:
    with pytest.raises(ValueError, match=r"is no method; give a class of raykd.methods"):
        method_class(CifarResNet)
    with pytest.raises(ValueError, match="is no method"):
        method_class(partial(print, 1))


def test_choices_may_be_given_first(study: Make) -> None:
    made = study(space={"alpha": CategoricalDistribution([1.01, 1.5])})
    assert made.search_config(1).given == ({"alpha": 1.01},)
