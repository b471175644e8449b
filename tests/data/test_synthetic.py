import pytest
import torch

from raykd.data.synthetic import Synthetic


def test_classes_can_be_learnt():
    d = Synthetic(classes=4, shape=(1, 16, 12), samples=100, tests=40, batch_size=8)
    assert d.shape == (1, 16, 12)
    view = torch.full((len(d),), d.crop.centre)
    train = d.look(torch.arange(len(d)), view).flatten(1)
    means = torch.stack([train[d.targets == k].mean(0) for k in range(4)])
    for batch in d.test():
        guess = torch.cdist(batch.input.flatten(1), means).argmin(1)
        assert (guess == batch.target).float().mean() > 0.9


def test_size_below_one():
    with pytest.raises(ValueError, match="samples=0"):
        Synthetic(samples=0)
