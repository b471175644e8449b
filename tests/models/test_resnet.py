import pytest
import torch

from raykd.models import resnet

NARROW = [(16, 32), (32, 16), (64, 8)]
WIDE = [(64, 32), (128, 16), (256, 8)]


@pytest.mark.parametrize(
    ("name", "params", "mmacs", "pooled", "stages"),
    [
        ("resnet8", 83_892, 12.5, 64, NARROW),
        ("resnet14", 181_108, 26.7, 64, NARROW),
        ("resnet20", 278_324, 40.8, 64, NARROW),
        ("resnet32", 472_756, 69.1, 64, NARROW),
        ("resnet44", 667_188, 97.4, 64, NARROW),
        ("resnet56", 861_620, 125.8, 64, NARROW),
        ("resnet110", 1_736_564, 253.2, 64, NARROW),
        ("resnet8x4", 1_233_540, 177.1, 256, WIDE),
        ("resnet32x4", 7_433_860, 1083.0, 256, WIDE),
    ],
)
def test_table_of_models(name, params, mmacs, pooled, stages, on_paper):
    on_paper(getattr(resnet, name), params, mmacs, pooled, stages)


@pytest.mark.parametrize("name", ["resnet8w6", "resnet8w24", "resnet20", "resnet8x4"])
def test_contract(name, at_work):
    at_work(getattr(resnet, name))


@pytest.mark.parametrize(("name", "width"), [("resnet8w6", 6), ("resnet8w24", 24)])
def test_small_pair(name, width):
    output = getattr(resnet, name)(in_channels=1)(torch.randn(2, 1, 32, 32))
    assert [s.shape[1] for s in output.stages] == [width, 2 * width, 4 * width]
    assert output.pooled.shape == (2, 4 * width)


@pytest.mark.parametrize("size", [8, 12, 28, 64])
def test_any_size_divisible_by_four(size):
    output = resnet.resnet8w6(10, 1)(torch.randn(2, 1, size, size))
    assert [s.shape[-1] for s in output.stages] == [size, size // 2, size // 4]


def test_pooled_is_the_mean_of_the_last_stage():
    output = resnet.resnet8(10)(torch.randn(2, 3, 16, 16))
    torch.testing.assert_close(output.pooled, output.stages[-1].mean(dim=(2, 3)))


def test_names_are_those_of_the_crd_benchmark():
    state = resnet.resnet8x4().state_dict()
    assert state["conv1.weight"].shape == (32, 3, 3, 3)
    assert state["layer1.0.downsample.0.weight"].shape == (64, 32, 1, 1)
    assert state["layer3.0.downsample.1.running_var"].shape == (256,)
    assert state["layer2.0.bn2.bias"].shape == (128,)
    assert state["fc.weight"].shape == (100, 256)
    assert not any(name.startswith("head") for name in state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"blocks": 0}, "blocks is 0"), ({"blocks": 1, "widths": (8, 8, 8)}, "give four")],
)
def test_bad_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        resnet.CifarResNet(**arguments)
