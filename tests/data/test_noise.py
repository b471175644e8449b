import math

import pytest
import torch

from raykd.data import Data, find
from raykd.data.noise import Noise
from raykd.data.synthetic import Synthetic


class Untouched(Synthetic):
    """Real data that training must not see."""

    def train(self, epoch, start=0):
        raise AssertionError("the real training set was asked for")


def real(**stream):
    return Untouched(classes=4, shape=(3, 5, 5), samples=40, tests=8, **stream)


def noise(**arguments):
    return Noise(**{"real": real, "samples": 30, "batch_size": 8, "seed": 3, **arguments})


def stream(data, epoch=0):
    batches = list(data.train(epoch))
    index = torch.cat([batch.index for batch in batches])
    return index, torch.cat([batch.input for batch in batches])


def test_it_is_data():
    data = noise()
    assert isinstance(data, Data)
    assert find("noise") is Noise
    assert len(data) == 30
    assert (data.classes, data.shape, data.batch_size) == (4, (3, 5, 5), 8)
    sizes = [len(batch.input) for batch in data.train(0)]
    assert sizes == [8, 8, 8, 6]
    for batch in data.train(0):
        assert batch.input.shape[1:] == (3, 5, 5)
        assert batch.input.dtype == torch.float32
        assert (batch.target == 0).all()
    assert data.targets.tolist() == [0] * 30


def test_values_are_normal():
    _, x = stream(noise(samples=400, std=2.0))
    z = x.flatten() / 2
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.std().item() == pytest.approx(1, abs=0.02)
    assert (z.abs() < 1).double().mean().item() == pytest.approx(math.erf(0.5**0.5), abs=0.01)
    assert z.pow(4).mean().item() == pytest.approx(3, abs=0.15)
    assert torch.corrcoef(torch.stack([z[:-1], z[1:]]))[0, 1].abs() < 0.02


def test_a_sample_depends_on_seed_epoch_and_index_alone():
    _, x = stream(noise())
    assert torch.equal(stream(noise())[1], x)
    assert torch.equal(stream(noise(batch_size=7))[1], x)
    assert torch.equal(stream(noise(samples=20))[1], x[:20])
    assert not torch.equal(stream(noise(), epoch=1)[1], x)
    assert not torch.equal(stream(noise(seed=4))[1], x)
    assert len(x.flatten(1).unique(dim=0)) == 30


def test_workers_share_the_stream():
    index, x = stream(noise())
    shares = [stream(noise(rank=rank, world=3)) for rank in range(3)]
    together = torch.cat([share[0] for share in shares])
    assert sorted(together.tolist()) == index.tolist()
    assert torch.equal(torch.cat([share[1] for share in shares])[together.argsort()], x)


def test_evaluation_is_on_the_real_data():
    data = noise()
    assert torch.equal(next(data.test()).input, next(real(batch_size=8, seed=3).test()).input)
    assert next(data.validation()).target.max() > 0
    assert data.describe() == {
        "name": "Noise",
        "samples": 30,
        "std": 1.0,
        "seed": 3,
        "evaluated_on": data.real.describe(),
    }


def test_what_it_refuses():
    with pytest.raises(ValueError, match="samples is 0"):
        noise(samples=0)
    with pytest.raises(ValueError, match=r"std is 0\.0"):
        noise(std=0.0)
    with pytest.raises(ValueError, match="batch size is 8"):
        noise(samples=4)
