import torch

from raykd.data.digits import Digits


def test_digits():
    d = Digits()
    assert (len(d), d.classes, d.shape, d.views) == (1120, 10, (1, 8, 8), 9)
    assert sum(len(b.index) for b in d.validation()) == 280
    assert sum(len(b.index) for b in d.test()) == 397
    assert d.targets.bincount().min() > 90
    pixels = torch.cat([b.input for b in d.test()])
    assert abs(pixels.mean()) < 0.05
    assert abs(pixels.std() - 1) < 0.05
