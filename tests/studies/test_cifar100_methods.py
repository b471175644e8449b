import importlib.util
from pathlib import Path

import pytest

from raykd.experiments.distillation import method_name
from raykd.study.checks import check
from raykd.train.component import Component, describe

SCRIPT = Path(__file__).parents[2] / "studies" / "cifar100_methods.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_published_method_is_taught(script):
    study = script.study("vgg13/vgg8")
    named = [*(method_name(made) for made in study.references), method_name(study.method)]
    assert named == [name.replace("l_corr", "itrd") for name in script.METHODS]
    assert (study.trials, study.seeds, dict(study.space)) == (1, 3, {})


def test_settings_are_those_published_for_the_pair(script):
    alphas = {
        pair: Component.of(script.method("itrd", pair)).bound["alpha"] for pair in script.PAIRS
    }
    assert list(alphas.values()) == [1.01] * 7 + [1.5] * 6
    betas = {
        pair: Component.of(script.method("reviewkd", pair)).bound["beta"] for pair in script.PAIRS
    }
    assert betas["resnet56/resnet20"] == 0.6
    assert betas["wrn_40_2/wrn_16_2"] == 5.0
    assert Component.of(script.method("l_corr", "vgg13/vgg8")).bound == {
        "alpha": 1.01,
        "beta_mi": 0.0,
    }
    assert Component.of(script.method("crd+kd", "vgg13/vgg8")).bound == {"kd_alpha": 1.0}


def test_one_study_a_pair(script):
    studies = [script.study(pair) for pair in script.PAIRS]
    assert len({study.name for study in studies}) == 13
    slow = [Component.of(study.optimizer).bound["lr"] == 0.01 for study in studies]
    assert slow == [False] * 7 + [True, True, False, True, True, True]


def test_any_other_pair_and_method(script):
    study = script.study("resnet8w24/resnet8w6", ("kd", "srm"))
    assert [method_name(made) for made in study.references] == ["kd"]
    assert method_name(study.method) == "srm"
    for names in (("kd", "nonsense"), ("crd+nonsense",)):
        with pytest.raises(ValueError, match="unknown method 'nonsense'"):
            script.study("vgg13/vgg8", names)
    with pytest.raises(ValueError, match="unknown model 'vgg9'"):
        script.study("vgg13/vgg9")


@pytest.mark.slow
def test_all_its_methods_pass_the_checks(script):
    for pair in ("resnet56/resnet20", "vgg13/mobilenetv2_half"):
        study = script.study(pair)
        check(study.override(**study.smoke))
        assert describe(study.references[-1])["name"] == "ITRD"
