import pytest
import torch

from raykd.models import vgg

STAGES = [(128, 16), (256, 8), (512, 4), (512, 4)]


@pytest.mark.parametrize(
    ("name", "params", "mmacs"),
    [
        ("vgg8", 3_965_028, 96.2),
        ("vgg11", 9_277_284, 209),
        ("vgg13", 9_462_180, 284.9),
        ("vgg16", 14_774_436, 398),
        ("vgg19", 20_086_692, 511),
    ],
)
def test_table_of_models(name, params, mmacs, on_paper):
    on_paper(getattr(vgg, name), params, mmacs, 512, STAGES)


@pytest.mark.parametrize("name", ["vgg8", "vgg13"])
def test_contract(name, at_work):
    at_work(getattr(vgg, name))


def test_larger_images_are_halved_once_more():
    output = vgg.vgg8()(torch.randn(2, 3, 64, 64))
    assert [s.shape[-1] for s in output.stages] == [32, 16, 8, 4]


def test_names_are_those_of_the_crd_benchmark():
    state = vgg.vgg13().state_dict()
    assert state["block0.0.bias"].shape == (64,)
    assert state["block4.3.weight"].shape == (512, 512, 3, 3)
    assert state["block4.4.running_var"].shape == (512,)
    assert state["classifier.weight"].shape == (100, 512)
