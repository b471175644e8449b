import torch

from raykd.models.shufflenetv2 import BasicUnit, shufflenetv2


def test_table_of_models(on_paper):
    on_paper(shufflenetv2, 1_355_528, 44.5, 1024, [(116, 16), (232, 8), (464, 4)])


def test_contract(at_work):
    at_work(shufflenetv2)


def test_a_unit_keeps_half_of_its_input():
    x = torch.rand(2, 8, 4, 4)
    made = BasicUnit(8)(x)
    # Shuffled with two groups: the kept half lies on the even channels.
    assert torch.equal(made[:, ::2], x[:, :4])


def test_names_are_those_of_the_crd_benchmark():
    state = shufflenetv2().state_dict()
    assert state["layer1.0.conv5.weight"].shape == (58, 58, 1, 1)
    assert state["layer2.7.bn3.bias"].shape == (116,)
    assert state["conv2.weight"].shape == (1024, 464, 1, 1)
    assert state["linear.weight"].shape == (100, 1024)
