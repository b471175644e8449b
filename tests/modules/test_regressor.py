import pytest
import torch
from torch import nn

from raykd.modules.regressor import BatchNorm2d, Regressor


@pytest.mark.parametrize(
    ("student", "teacher", "parameters"),
    [
        ((64, 16, 16), (64, 16, 16), 4_288),
        ((32, 16, 16), (64, 16, 16), 2_240),
        ((32, 16, 16), (32, 16, 16), 1_120),
        ((128, 16, 16), (128, 16, 16), 16_768),
        ((256, 8, 8), (256, 8, 8), 66_304),
        ((16, 8, 8), (256, 8, 8), 4_864),
        ((16, 8, 8), (512, 16, 16), 132_608),
        ((256, 8, 8), (512, 16, 16), 2_098_688),
        ((480, 8, 8), (128, 16, 16), 983_424),
        ((232, 8, 8), (128, 16, 16), 475_520),
        ((480, 8, 8), (64, 16, 16), 491_712),
    ],
)
def test_parameters_of_the_benchmarks_pairs(student, teacher, parameters):
    regressor = Regressor(student, teacher)
    assert sum(p.numel() for p in regressor.parameters()) == parameters


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((3, 8, 8), (5, 8, 8)),
        ((3, 8, 8), (5, 4, 4)),
        ((3, 8, 8), (5, 7, 5)),
        ((3, 8, 8), (5, 1, 1)),
        ((3, 4, 4), (5, 8, 8)),
        ((3, 4, 4), (5, 12, 12)),
        ((3, 2, 3), (5, 8, 12)),
    ],
)
def test_it_reaches_the_teachers_map(student, teacher):
    regressed = Regressor(student, teacher)(torch.rand(2, *student))
    assert regressed.shape == (2, *teacher)
    assert (regressed >= 0).all()


@pytest.mark.parametrize("teacher", [(5, 6, 6), (5, 8, 2), (5, 8, 12)])
def test_what_it_refuses(teacher):
    with pytest.raises(ValueError, match="the student's map is 4 x 4 and the teacher's"):
        Regressor((3, 4, 4), teacher)


def test_batch_norm_of_a_single_value():
    norm, plain = BatchNorm2d(3), nn.BatchNorm2d(3)
    x = torch.rand(4, 3, 2, 2)
    assert norm(x).equal(plain(x))
    assert norm.running_mean.equal(plain.running_mean)
    one = torch.rand(1, 3, 1, 1, requires_grad=True)
    before = norm.running_mean.clone()
    out = norm(one)
    assert torch.allclose(out, plain.eval()(one))
    out.sum().backward()
    assert one.grad.abs().min() > 0
    assert norm.running_mean.equal(before)
