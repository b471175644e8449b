import pytest
import torch

from raykd.modules.bregman_layer import BregmanLayer
from raykd.modules.transfer import transfer

NAMES = ["identity", "leaky_relu", "relu", "sigmoid", "tanh", "elu", "softmax"]


def layer(name, d=6, k=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.rand(d, generator=generator, dtype=torch.float64) - 0.3
    components = torch.rand(d, k, generator=generator, dtype=torch.float64) - 0.5
    if name == "softmax":
        mean, components = mean - mean.mean(), components - components.mean(0)
    return BregmanLayer(mean, components, transfer(name, 0.1))


@pytest.mark.parametrize("name", NAMES)
def test_the_layer_is_linear_then_the_transfer_function(name):
    one = layer(name)
    c = torch.tensor([[0.5, -1.0], [2.0, 0.1]], dtype=torch.float64)
    linear = torch.nn.Linear(2, 6).double()
    linear.load_state_dict({"weight": one.components, "bias": one.mean})
    assert torch.allclose(one(c), one.transfer.f(linear(c)), rtol=1e-14, atol=1e-14)
    assert not list(one.parameters())
    assert one.state_dict().keys() == {"mean", "components"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "relu"])
def test_encoding_undoes_the_layer(name):
    one = layer(name)
    c = torch.linspace(-1, 1, 10, dtype=torch.float64).view(5, 2)
    assert torch.allclose(one.encode(one(c)), c, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_encoding_finds_the_least_loss(name):
    """The problem is convex: the gradient vanishes, and no point nearby is better."""
    one = layer(name)
    y = one.transfer.f(torch.linspace(-1, 1.5, 24, dtype=torch.float64).view(4, 6).sin())
    c = one.encode(y)
    gradient = (one(c) - y) @ one.components
    assert gradient.abs().max() < 1e-7
    for step in torch.eye(2, dtype=torch.float64) * 0.1:
        assert (one.loss(c + step, y) >= one.loss(c, y) - 1e-12).all()
        assert (one.loss(c - step, y) >= one.loss(c, y) - 1e-12).all()


def test_each_row_is_encoded_for_itself():
    one = layer("sigmoid")
    y = torch.rand(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = one.encode(y)
    alone = torch.cat([one.encode(row[None]) for row in y])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "tanh"])
def test_saturated_outputs_give_finite_coefficients(name):
    one = layer(name)
    y = torch.eye(6, dtype=torch.float64)
    assert one.encode(y).isfinite().all()
    assert one.loss(one.encode(y), y).isfinite().all()


def test_the_gradient_reaches_the_coefficients():
    one = layer("elu")
    c = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    y = torch.ones(3, 6, dtype=torch.float64)
    one.loss(c, y).sum().backward()
    assert torch.allclose(c.grad, (one(c) - y).detach() @ one.components)
