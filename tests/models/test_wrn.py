import pytest
import torch
import torch.nn.functional as F

from raykd.models import wrn

ONE = [(16, 32), (32, 16), (64, 8)]
TWO = [(32, 32), (64, 16), (128, 8)]


@pytest.mark.parametrize(
    ("name", "params", "mmacs", "pooled", "stages"),
    [
        ("wrn_16_1", 180_916, 26.7, 64, ONE),
        ("wrn_16_2", 703_284, 101.1, 128, TWO),
        ("wrn_40_1", 569_780, 83.3, 64, ONE),
        ("wrn_40_2", 2_255_156, 327.6, 128, TWO),
    ],
)
def test_table_of_models(name, params, mmacs, pooled, stages, on_paper):
    on_paper(getattr(wrn, name), params, mmacs, pooled, stages)


@pytest.mark.parametrize("name", ["wrn_16_1", "wrn_16_2"])
def test_contract(name, at_work):
    at_work(getattr(wrn, name), active=None)


def test_stages_are_raw_and_preacts_normalised():
    torch.manual_seed(0)
    model = wrn.wrn_16_2(10).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    output = model(torch.randn(2, 3, 16, 16))
    norms = (model.block2.layer[0].bn1, model.block3.layer[0].bn1, model.bn1)
    for stage, preact, norm in zip(output.stages, output.preacts, norms, strict=True):
        assert stage.min() < 0
        torch.testing.assert_close(norm(stage), preact)
    torch.testing.assert_close(F.relu(output.preacts[-1]).mean(dim=(2, 3)), output.pooled)


def test_running_statistics_are_updated_once_a_step():
    model = wrn.wrn_16_1(10)
    model(torch.randn(2, 3, 16, 16))
    counts = [b for name, b in model.named_buffers() if name.endswith("num_batches_tracked")]
    assert all(count == 1 for count in counts)


def test_names_are_those_of_the_crd_benchmark():
    state = wrn.wrn_40_2().state_dict()
    assert state["block1.layer.0.convShortcut.weight"].shape == (32, 16, 1, 1)
    assert "block1.layer.1.convShortcut.weight" not in state
    assert state["block3.layer.5.conv2.weight"].shape == (128, 128, 3, 3)
    assert state["bn1.weight"].shape == (128,)
    assert state["fc.bias"].shape == (100,)


@pytest.mark.parametrize("depth", [4, 15, 20])
def test_bad_depth(depth):
    with pytest.raises(ValueError, match="it must be 10, 16, 22"):
        wrn.WideResNet(depth, 1)
