import math

import pytest
import torch
from torch import nn

from raykd.models.init import he_normal_


@pytest.mark.parametrize("groups", [1, 8])
def test_variance_is_two_over_fan_out(groups):
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 256, 3, groups=groups)
    he_normal_(nn.Sequential(conv))
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.02)
    assert conv.bias.abs().max() == 0
