import copy

import pytest
import torch
from torch import nn

from raykd.models.wrap import wrap


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(True))
        self.late = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(True))
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(6, 5)

    def forward(self, x):
        x = self.late(self.early(x))
        return self.out(self.drop(x.mean(dim=(2, 3))))


class Branching(Small):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


def _wrapped(module: nn.Module):
    return wrap(module, stages=["early", "late"], preacts=["early.1", "late.1"], head="out")


def test_features_are_those_of_the_module():
    torch.manual_seed(0)
    module = Small().eval()
    expected = copy.deepcopy(module)
    x = torch.randn(2, 3, 16, 16)
    output = _wrapped(module)(x)
    early = expected.early(x)
    assert torch.equal(output.logits, expected(x))
    assert torch.equal(output.stages[0], early)
    assert torch.equal(output.stages[1], expected.late(early))
    for stage, preact in zip(output.stages, output.preacts, strict=True):
        assert preact.min() < 0
        assert torch.equal(preact.relu(), stage)
    assert output.pooled.shape == (2, 6)


def test_pooled_by_name():
    model = wrap(Small(), stages=["late"], pooled="drop", head="out").train()
    output = model(torch.randn(2, 3, 16, 16))
    assert torch.equal(model.head(output.pooled), output.logits)
    assert model.head.out_features == 5


def test_it_follows_the_mode():
    torch.manual_seed(0)
    model, x = _wrapped(Small()), torch.randn(4, 3, 16, 16)
    assert model.training
    assert not torch.equal(model(x).logits, model(x).logits)
    model.eval()
    assert torch.equal(model(x).logits, model(x).logits)


def test_it_trains_like_any_other():
    model = _wrapped(Small())
    model(torch.randn(4, 3, 16, 16)).logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_its_state_has_the_names_of_the_module():
    module = Small()
    names = list(module.state_dict())
    model = _wrapped(module)
    assert list(model.state_dict()) == names
    assert list(nn.ModuleDict({"model": model}).state_dict()) == [f"model.{n}" for n in names]
    other = Small()
    model.load_state_dict(other.state_dict())
    other.load_state_dict(model.state_dict())
    nested = nn.Sequential(_wrapped(Small()), nn.Linear(2, 2))
    nested.load_state_dict(nn.Sequential(other, nn.Linear(2, 2)).state_dict())
    for name, tensor in nested[0].state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_a_copy_stands_alone():
    model = _wrapped(Small()).eval()
    x = torch.randn(2, 3, 16, 16)
    before = model(x).logits
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(model(x).logits, before)
    assert twin(x).logits.abs().max() == 0


def test_a_copy_is_in_the_same_mode():
    model = _wrapped(Small())
    for mode in (True, False, True):
        twin = copy.deepcopy(model.train(mode))
        assert {module.training for module in twin.modules()} == {mode}
        x = torch.randn(4, 3, 16, 16)
        assert torch.equal(twin(x).stages[1], model(x).stages[1])
    frozen = model.get_submodule("extractor.early.1").eval()
    twin = copy.deepcopy(model)
    assert twin.training
    assert not frozen.training
    assert not twin.get_submodule("extractor.early.1").training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stages": ["earlier"], "head": "out"}, "no node 'earlier'.*similar: early"),
        ({"stages": [], "head": "fc"}, "head 'fc' isn't a layer of Small.*linear layers: out"),
        ({"stages": [], "head": "late"}, "name the layer that makes the logits"),
        ({"stages": [], "head": "out", "pooled": "late"}, "not pooled 'late'"),
    ],
)
def test_wrong_names(arguments, message):
    with pytest.raises(ValueError, match=message):
        wrap(Small(), **arguments)


def test_what_cannot_be_traced():
    with pytest.raises(ValueError, match="Branching can't be traced"):
        _wrapped(Branching())
