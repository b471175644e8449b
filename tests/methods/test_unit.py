import pytest
import torch

from raykd.methods.unit import SHORT, has_direction, unit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_ordinary_vectors_get_the_bits_of_torchs_normalize(draw, dtype, scale):
    x = (scale * draw(4, 5, 6)).to(dtype)
    for dim in (1, 2):
        assert unit(x, dim).equal(torch.nn.functional.normalize(x, dim=dim))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [0.0, 1e-12, 1e-9, 1e-6, 1e-3])
def test_a_vector_without_length_gets_no_more_gradient_than_a_short_one(draw, length, dtype):
    x = draw(3, 4).to(dtype)
    x[0] *= length
    x.requires_grad_()
    y = unit(x)
    y.backward(draw(3, 4, seed=1).to(dtype))
    gradient = x.grad.norm(dim=1)
    assert x.grad.isfinite().all()
    assert gradient[0] <= gradient[1:].max() / SHORT
    assert gradient[0] <= 0.1 or length > 1e-9
    assert y[1:].equal(torch.nn.functional.normalize(x[1:]))
    assert has_direction(x).tolist() == [length > 1e-8, True, True]


def test_ordinary_vectors_get_the_gradient_of_torchs_normalize(draw):
    x, upstream = draw(6, 5).float(), draw(6, 5, seed=1).float()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    unit(a).backward(upstream)
    torch.nn.functional.normalize(b).backward(upstream)
    assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=1e-6)


def test_vectors_that_are_all_zero_give_a_bounded_gradient():
    x = torch.zeros(3, 4, requires_grad=True)
    unit(x).sum().backward()
    assert x.grad.abs().max() <= 1
