import torch

from raykd.models.shufflenetv1 import ShuffleUnit, shufflenetv1


def test_table_of_models(on_paper):
    on_paper(shufflenetv1, 949_258, 38.7, 960, [(240, 16), (480, 8), (960, 4)])


def test_contract(at_work):
    at_work(shufflenetv1)


def test_a_halving_unit_appends_the_pooled_input():
    x = torch.randn(2, 24, 8, 8)
    made = ShuffleUnit(24, 240, stride=2, groups=3, first_groups=1)(x)
    assert made.shape == (2, 240, 4, 4)
    pooled = torch.nn.functional.avg_pool2d(x, 3, stride=2, padding=1)
    assert torch.equal(made[:, 216:], pooled)


def test_names_are_those_of_the_crd_benchmark():
    state = shufflenetv1().state_dict()
    assert state["layer1.0.conv1.weight"].shape == (54, 24, 1, 1)
    assert state["layer1.0.conv3.weight"].shape == (216, 18, 1, 1)
    assert state["layer3.3.bn3.bias"].shape == (960,)
    assert state["linear.weight"].shape == (100, 960)
