"""Batches that Ray Data has decoded are those of a process of one's own."""

import pytest
import ray
import torch

from raykd.data.imagenet import ImageNet
from raykd.data.pack import pack
from raykd.data.synthetic import make, write_images
from raykd.runtime.streamed_data import Streamed

OPTIONS = {"size": 32, "validation": 0.2, "batch_size": 16, "seed": 3}


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    write_images(root / "folders", make(3, (3, 40, 48), 60, 15))
    pack(root / "folders", root / "shards", shard_images=16)
    return root / "shards"


def test_a_check_of_the_study_needs_no_cluster(shards):
    streamed = Streamed(shards, **OPTIONS)
    assert streamed.describe() == ImageNet(shards, decoders=0, **OPTIONS).describe()
    assert not ray.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_the_same_batches(cluster, shards, rank):
    options = {**OPTIONS, "rank": rank, "world": 2}
    streamed, here = Streamed(shards, **options), ImageNet(shards, decoders=0, **options)
    for stream, epoch in (("train", [1]), ("validation", []), ("test", [])):
        found, expected = (list(getattr(data, stream)(*epoch)) for data in (streamed, here))
        assert len(found) > 0
        for batch, twin in zip(found, expected, strict=True):
            assert torch.equal(batch.index, twin.index)
            assert torch.equal(batch.target, twin.target)
            assert torch.equal(batch.input, twin.input)


@pytest.mark.slow
def test_damaged_images_are_named(cluster, tmp_path):
    write_images(tmp_path, make(3, (3, 40, 48), 60, 15))
    broken = sorted((tmp_path / "train" / "class001").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:60])
    options = {**OPTIONS, "validation": 0.0}
    skipping = Streamed(tmp_path, on_damaged="skip", **options)
    assert sum(len(batch.target) for batch in skipping.train(0)) == 59
    assert list(skipping.damaged) == [f"class001/{broken.name}"]
    with pytest.raises(ValueError, match=f"the image class001/{broken.name} is damaged"):
        list(Streamed(tmp_path, **options).train(0))
