import gc
from pathlib import Path

import pytest
import torch

from raykd.data.samples import sample_cifar10, sample_cifar100, sample_imagenet


@pytest.mark.parametrize(
    ("sample", "classes", "shape"),
    [
        (sample_cifar10, 10, (3, 32, 32)),
        (sample_cifar100, 100, (3, 32, 32)),
        (sample_imagenet, 4, (3, 64, 64)),
    ],
)
def test_samples_are_read_as_the_published_sets(sample, classes, shape, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = sample(batch_size=16)
    assert (data.classes, data.shape, len(data)) == (classes, shape, 48)
    batches = list(data.train(0))
    assert [len(batch.target) for batch in batches] == [16, 16, 16]
    assert sum(len(batch.target) for batch in data.test()) == 20
    again = sample(batch_size=16)
    assert again.describe() == data.describe()
    assert torch.equal(next(iter(again.train(0))).input, batches[0].input)
    del data, again
    gc.collect()
    assert list(Path(tmp_path).iterdir()) == []
