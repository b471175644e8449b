import torch
import torch.nn.functional as F
from torch import nn

from raykd.models.stage import Stage


def test_both_sides_of_the_last_activation():
    double, negate = nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(double.weight, 2)
    nn.init.constant_(negate.weight, -1)
    x = torch.tensor([-1.0, 3.0]).view(1, 1, 1, 2)
    out, preact = Stage(double, negate)(x)
    assert preact.flatten().tolist() == [0, -6]
    assert out.flatten().tolist() == [0, 0]
    out, preact = Stage(double, negate, activation=F.hardtanh)(x)
    assert preact.flatten().tolist() == [1, -1]
    assert out.flatten().tolist() == [1, -1]


def test_blocks_keep_their_numbers_as_names():
    assert list(Stage(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1, bias=False)).state_dict()) == [
        "0.weight",
        "0.bias",
        "1.weight",
    ]
