import copy
import pickle

import pytest
import torch
from torch.autograd import gradcheck

from raykd.modules.transfer import transfer

NAMES = ["identity", "leaky_relu", "relu", "sigmoid", "tanh", "elu", "softmax"]


@pytest.fixture
def theta():
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.rand(6, 5, generator=generator, dtype=torch.float64) - 1.5


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_the_potential_is_the_function(name, theta):
    one, theta = transfer(name, 0.1), theta.requires_grad_()
    (gradient,) = torch.autograd.grad(one.potential(theta).sum(), theta)
    assert torch.allclose(gradient, one.f(theta), atol=1e-14)
    assert gradcheck(one.potential, theta)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_the_loss_is_the_difference_of_outputs(name, theta):
    one = transfer(name, 0.1)
    y, theta = one.f(theta.flip(0)), theta.requires_grad_()
    loss = one.loss(theta, y)
    (gradient,) = torch.autograd.grad(loss.sum(), theta)
    assert torch.allclose(gradient, one.f(theta) - y, atol=1e-14)
    assert (loss >= -1e-14).all()
    assert torch.allclose(one.loss(theta, one.f(theta)), torch.zeros(6).double(), atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_slope_and_hessian_are_derivatives(name, theta):
    one = transfer(name, 0.1)
    jacobian = torch.autograd.functional.jacobian(one.f, theta[0])
    assert torch.allclose(one.hessian(theta[0]), jacobian, atol=1e-14)
    assert jacobian.abs().max() <= one.lipschitz
    wide = torch.linspace(-9, 9, 1000, dtype=torch.float64)[:, None]
    assert one.slope(wide).max() <= (1 if name == "softmax" else one.lipschitz)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "relu"])
def test_the_inverse(name, theta):
    one = transfer(name, 0.1)
    assert torch.allclose(one.f(one.inverse(one.f(theta))), one.f(theta))
    assert one.inverse(one.f(torch.full((1, 3), 40.0))).isfinite().all()
    assert one.inverse(one.f(torch.full((1, 3), -40.0))).isfinite().all()


def test_the_softmax_loss_is_a_divergence(theta):
    one = transfer("softmax")
    y = theta.flip(0).softmax(1)
    expected = (y * (y.log() - theta.log_softmax(1))).sum(1)
    assert torch.allclose(one.loss(theta, y), expected)
    assert one.conjugate(torch.eye(3)).tolist() == [0, 0, 0]  # 0 ln 0 = 0


def test_directions_that_change_nothing_are_left_out(theta):
    softmax = transfer("softmax")
    basis = softmax.basis(softmax.hessian(theta[0]))
    assert basis.shape == (5, 4)
    assert basis.sum(0).abs().max() < 1e-14
    relu = transfer("relu")
    basis = relu.basis(relu.hessian(torch.tensor([1.0, 0.0, 2.0])))
    assert basis.tolist() == [[1, 0], [0, 0], [0, 1]]


def test_a_function_that_is_not_monotone_is_refused():
    for name in ("gelu", "silu", "mish", "nonsense"):
        with pytest.raises(ValueError, match=f"transfer is '{name}'; it must be monotone"):
            transfer(name)
    with pytest.raises(ValueError, match=r"slope of leaky_relu is 0\.0"):
        transfer("leaky_relu", 0.0)


def test_outputs_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"lie in \[-1, 1\]; those of relu lie in \[0, inf\]"):
        transfer("relu").check(torch.tensor([[-1.0, 1.0]]))
    with pytest.raises(ValueError, match="Apply the softmax to logits first"):
        transfer("softmax").check(torch.tensor([[0.5, 0.1]]))
    with pytest.raises(ValueError, match="not all finite"):
        transfer("identity").check(torch.tensor([[float("nan"), 0.1]]))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_copied_and_pickled_by_name(name):
    one = transfer(name, 0.3)
    for same in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert same.name == name
        assert (
            same.f(torch.tensor([[-1.0, 2.0]])).tolist()
            == one.f(torch.tensor([[-1.0, 2.0]])).tolist()
        )
