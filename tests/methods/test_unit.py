import pytest
import torch

from raykd.methods.unit import has_direction, unit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_ordinary_vectors_get_the_bits_of_torchs_normalize(draw, dtype, scale):
    x = (scale * draw(4, 5, 6)).to(dtype)
    for dim in (1, 2):
        assert unit(x, dim).equal(torch.nn.functional.normalize(x, dim=dim))


@pytest.mark.parametrize("length", [0.0, 1e-12, 1e-9])
def test_a_vector_without_length_has_the_gradient_of_the_identity(draw, length):
    x = length * draw(3, 4)
    x[1] = draw(4)
    x.requires_grad_()
    upstream = draw(3, 4, seed=1)
    unit(x).backward(upstream)
    assert x.grad[0].equal(upstream[0])
    assert x.grad.isfinite().all()
    assert has_direction(x).tolist() == [False, True, False]
