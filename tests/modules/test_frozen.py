import torch
from torch import nn

from raykd.modules.frozen import Frozen


def test_gradients_pass_through_and_stay_out():
    module = nn.Linear(3, 2)
    x = torch.rand(4, 3, requires_grad=True)
    out = Frozen(module)(x)
    assert out.equal(module(x))
    out.sum().backward()
    assert torch.allclose(x.grad, module.weight.sum(0).expand(4, 3))
    assert module.weight.grad is None


def test_a_module_that_keeps_one_does_not_own_it():
    class Keeper(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = Frozen(nn.BatchNorm1d(3))

    keeper = Keeper().train()
    before = {k: v.clone() for k, v in keeper.frozen.module.state_dict().items()}
    keeper.frozen(torch.rand(4, 3))
    assert not list(keeper.parameters())
    assert not keeper.state_dict()
    assert all(v.equal(before[k]) for k, v in keeper.frozen.module.state_dict().items())
